// pg-boss. Its upkeep is off, so that none of it falls into a measurement.
import { CONCURRENCY, Drain, FETCHED, LATER, OTHER_QUEUE, QUEUE, Trickle, each, inBulk, main, oneAfterAnother, require } from './peer.mjs'
const { PgBoss } = require('pg-boss')

const NOTIFIED_QUEUE = 'notified'

async function start (options = {}) {
  const { PGHOST: host, PGUSER: user, PGDATABASE: database } = process.env
  const boss = new PgBoss({ host, user, database, supervise: false, schedule: false, max: CONCURRENCY + 2, ...options })
  boss.on('error', error => console.error(error.message))
  return await boss.start()
}

async function insert (count, queue = QUEUE, options = {}) {
  const boss = await start()
  return await inBulk(count, many => boss.insert(queue, many.map(data => ({ data, ...options }))))
}

async function drain (count, loops, batchSize) {
  const boss = await start()
  const drained = new Drain(count)
  const loop = async () => {
    for (;;) {
      const jobs = await boss.fetch(QUEUE, { batchSize })
      if (jobs.length === 0) return
      drained.handled(jobs.length)
      await boss.complete(QUEUE, jobs.map(job => job.id))
    }
  }
  await Promise.all(Array.from({ length: loops }, loop))
  return await drained.rate
}

await main({
  async install () {
    const boss = await start()
    await boss.createQueue(QUEUE)
    await boss.createQueue(OTHER_QUEUE)
    await boss.createQueue(NOTIFIED_QUEUE, { notify: true })
    return []
  },

  async send (count) {
    const boss = await start()
    return await oneAfterAnother(count, n => boss.send(QUEUE, { n }))
  },

  insert: count => insert(count),
  insert_others: count => insert(count, OTHER_QUEUE),
  insert_later: count => insert(count, QUEUE, { startAfter: LATER }),
  fetch: count => drain(count, CONCURRENCY, FETCHED),
  fetch_alone: count => drain(count, 1, FETCHED),
  work: count => drain(count, CONCURRENCY, 1), // its work() with a batch of one waits half a second after each job

  async fetch_nothing (count) {
    const boss = await start()
    return await each(count, () => boss.fetch(QUEUE, { batchSize: CONCURRENCY }))
  },

  async work_batches (count) {
    const boss = await start()
    const drained = new Drain(count)
    const best = { localConcurrency: CONCURRENCY, batchSize: FETCHED, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
    await boss.work(QUEUE, best, async jobs => drained.handled(jobs.length))
    return await drained.rate
  },

  async latency (count) {
    const boss = await start({ useListenNotify: true })
    const trickle = new Trickle()
    await boss.work(NOTIFIED_QUEUE, async ([job]) => trickle.started(job.data.sent))
    return await trickle.run(count, sent => boss.send(NOTIFIED_QUEUE, { sent }))
  }
})
