// pg-boss's side of benchmarks/jobs.py. Usage: node jobs_pgboss.mjs MODULES_DIRECTORY CONNECTION_JSON SIZES_JSON
import { createRequire } from 'node:module'
const require = createRequire(process.argv[2] + '/')
const { PgBoss } = require('pg-boss')
const sizes = JSON.parse(process.argv[4])
const boss = new PgBoss({ ...JSON.parse(process.argv[3]), schema: 'boss', supervise: false, schedule: false, max: 12 })
boss.on('error', () => {})
await boss.start()
const results = {}
const seconds = since => (performance.now() - since) / 1000
const fill = async (queue, count) => {
  await boss.createQueue(queue)
  for (let at = 0; at < count; at += 1000) await boss.insert(queue, Array.from({ length: 1000 }, (_, n) => ({ data: { n: at + n } })))
}
await boss.createQueue('send')
let since = performance.now()
for (let n = 0; n < sizes.send; n++) await boss.send('send', { n })
results['one send'] = sizes.send / seconds(since)
since = performance.now()
await fill('batches', sizes.bulk)
results['bulk insert'] = sizes.bulk / seconds(since)
const loop = async (queue, batchSize) => {
  for (;;) {
    const jobs = await boss.fetch(queue, { batchSize })
    if (jobs.length === 0) return
    await boss.complete(queue, jobs.map(job => job.id))
  }
}
since = performance.now()
await loop('batches', 100)
results['fetch(100) and complete'] = sizes.bulk / seconds(since)
await fill('singles', sizes.single)
since = performance.now()
await Promise.all(Array.from({ length: 10 }, () => loop('singles', 1)))
results['one by one, 10 at a time'] = sizes.single / seconds(since)
await fill('work', sizes.bulk)
let done = 0
await new Promise(resolve => {
  since = performance.now()
  boss.work('work', { localConcurrency: 10, batchSize: 100, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }, async jobs => {
    done += jobs.length
    if (done >= sizes.bulk) resolve()
  })
})
results['batch handlers'] = sizes.bulk / seconds(since)
await boss.stop({ graceful: false, close: false }).catch(() => {})
const listening = new PgBoss({ ...JSON.parse(process.argv[3]), schema: 'boss', supervise: false, schedule: false, max: 12, useListenNotify: true })
listening.on('error', () => {})
await listening.start()
await listening.createQueue('latency', { notify: true })
const times = []
let heard = () => {}
await listening.work('latency', { localConcurrency: 1 }, async ([job]) => { times.push(performance.now() - job.data.at); heard() })
await new Promise(resolve => setTimeout(resolve, 1000))
for (let n = 0; n < sizes.latency; n++) {
  await new Promise(resolve => setTimeout(resolve, 20))
  const next = new Promise(resolve => { heard = resolve })
  await listening.send('latency', { at: performance.now() })
  await next
}
times.sort((a, b) => a - b)
results['latency p50 ms'] = times[Math.floor(times.length * 0.5)]
results['latency p99 ms'] = times[Math.min(times.length - 1, Math.floor(times.length * 0.99))]
console.log(JSON.stringify(results))
process.exit(0)
