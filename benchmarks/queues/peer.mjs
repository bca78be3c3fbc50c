// What the peers in Node share; peer.py is the same for those in Python. Their packages are in $PEER_MODULES.
import { createRequire } from 'node:module'

export const require = createRequire(process.env.PEER_MODULES + '/')
export const QUEUE = 'work'
export const OTHER_QUEUE = 'other'
export const CONCURRENCY = 10
export const FETCHED = 100
export const LATER = 86_400 // seconds
const INSERTED = 1000
const GAP = 20 // ms

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

export async function main (actions) {
  const [name, count] = process.argv.slice(2)
  console.log(JSON.stringify(await actions[name](Number(count))))
  process.exit(0)
}

export async function oneAfterAnother (count, send) {
  for (let n = 0; n < count / 10; n++) await send(n)
  const since = performance.now()
  for (let n = 0; n < count; n++) await send(n)
  return [1000 * count / (performance.now() - since)]
}

export async function inBulk (count, insert) {
  const since = performance.now()
  for (let at = 0; at < count; at += INSERTED) {
    await insert(Array.from({ length: Math.min(INSERTED, count - at) }, (_, n) => ({ n: at + n })))
  }
  return [1000 * count / (performance.now() - since)]
}

export async function each (count, fetch) {
  const times = []
  for (let n = 0; n < count * 1.1; n++) {
    const since = performance.now()
    await fetch()
    times.push(performance.now() - since)
  }
  return times.slice(-count)
}

// Counts handled jobs. The first tenth is warm-up, and what follows the start of the last does not count.
export class Drain {
  #seen = 0
  #warm = 0
  #since
  #found

  constructor (count) {
    this.count = count
    this.rate = new Promise(resolve => { this.#found = resolve })
  }

  handled (jobs = 1) {
    this.#seen += jobs
    if (!this.#warm && this.#seen >= this.count / 10) {
      this.#warm = this.#seen
      this.#since = performance.now()
    } else if (this.#seen === this.count) {
      this.#found([1000 * (this.count - this.#warm) / (performance.now() - this.#since)])
    }
  }
}

// Jobs one at a time: the milliseconds from the call that sends each to its handler.
export class Trickle {
  #times = []
  #heard

  started (sent) {
    this.#times.push(performance.now() - sent)
    this.#heard()
  }

  async run (count, send) {
    await sleep(1000) // until the worker listens
    for (let n = 0; n < count * 1.1; n++) {
      await sleep(GAP)
      const started = new Promise(resolve => { this.#heard = resolve })
      await send(performance.now())
      await started
    }
    return this.#times.slice(-count)
  }
}
