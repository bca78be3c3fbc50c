"""What runs in a worker: the queue's own tasks, the timer, and the loop that keeps both alive."""
