// graphile-worker, with its settings as they come; in batches with a local queue.
import { CONCURRENCY, Drain, QUEUE, Trickle, inBulk, main, oneAfterAnother, require } from './peer.mjs'
const { Logger, makeWorkerUtils, run } = require('graphile-worker')

const logger = new Logger(() => () => {})
const utils = () => makeWorkerUtils({ logger })
const work = (handler, options = { concurrency: CONCURRENCY }) =>
  run({ logger, noHandleSignals: true, taskList: { [QUEUE]: handler }, ...options })

await main({
  async install () {
    await (await utils()).migrate()
    return []
  },

  async send (count) {
    const { addJob } = await utils()
    return await oneAfterAnother(count, n => addJob(QUEUE, { n }))
  },

  async insert (count) {
    const { addJobs } = await utils()
    return await inBulk(count, many => addJobs(many.map(payload => ({ identifier: QUEUE, payload }))))
  },

  async work (count) {
    const drained = new Drain(count)
    await work(async () => drained.handled())
    return await drained.rate
  },

  // Its handlers take one job each; this is what it fetches and settles at a time.
  async work_batches (count) {
    const drained = new Drain(count)
    const best = { concurrentJobs: 24, localQueue: { size: 500 }, completeJobBatchDelay: 0 }
    await work(async () => drained.handled(), { preset: { worker: best } })
    return await drained.rate
  },

  async latency (count) {
    const { addJob } = await utils()
    const trickle = new Trickle()
    await work(async ({ sent }) => trickle.started(sent))
    return await trickle.run(count, sent => addJob(QUEUE, { sent }))
  }
})
