// Puts pg-boss through the scenarios read from stdin, and prints its answers.
// Usage: node pgboss.mjs MODULES_DIRECTORY CONNECTION_JSON < scenarios.json
import { createRequire } from 'node:module'
const require = createRequire(process.argv[2] + '/')
const { PgBoss } = require('pg-boss')
const names = {
  key: 'singletonKey', start_after: 'startAfter', retry_limit: 'retryLimit', retry_delay: 'retryDelay',
  retry_backoff: 'retryBackoff', dead_letter: 'deadLetter', priority: 'priority', policy: 'policy', group: 'group'
}
const options = given => Object.fromEntries(Object.entries(given ?? {}).map(
  ([name, value]) => [names[name] ?? name, name === 'group' ? { id: value } : value]))
const payload = value => (value !== null && typeof value === 'object') ? value : { value }
const input = await new Promise(resolve => {
  let text = ''
  process.stdin.on('data', part => { text += part }).on('end', () => resolve(JSON.parse(text)))
})
const answers = {}
let number = 0
for (const [title, steps] of Object.entries(input)) {
  const boss = new PgBoss({ ...JSON.parse(process.argv[3]), schema: `boss${++number}`, supervise: false, schedule: false, max: 2 })
  boss.on('error', () => {})
  await boss.start()
  const ids = []
  const held = {}
  const label = id => {
    if (id === null) return null
    if (!ids.includes(id)) ids.push(id)
    return String(ids.indexOf(id) + 1)
  }
  const id = text => ids[Number(text) - 1]
  const find = async (queue, text) => (await boss.findJobs(queue, { id: id(text) }))[0]
  const all = async queue => (await boss.findJobs(queue, {})).sort((a, b) => a.createdOn - b.createdOn || a.data?.n - b.data?.n)
  const verbs = {
    create: async (q, o) => { const { policy, ...rest } = o; await boss.createQueue(q, { ...(policy && { policy }), ...options(rest) }); return null },
    update_queue: async (q, o) => { await boss.updateQueue(q, options(o)); return null },
    send: async (q, data, o) => label(await boss.send(q, payload(data), options(o))),
    throttle: async (q, s, o) => label(await boss.send(q, {}, { ...options(o), singletonSeconds: s })),
    debounce: async (q, s, o) => label(await boss.send(q, {}, { ...options(o), singletonSeconds: s, singletonNextSlot: true })),
    insert: async (q, jobs) => { await boss.insert(q, jobs.map(options)); return null },
    fetch: async (q, n, o) => (await boss.fetch(q, { batchSize: n, ...(o?.groups && { groupConcurrency: o.groups }) })).map(j => label(j.id)).sort(),
    claim: async (q, n, o) => (await boss.fetch(q, { batchSize: n, groupConcurrency: o.groups })).length,
    hold: async (q, j) => { held[j] = (await find(q, j)).retryCount; return null },
    late: async (q, j) => (await boss.complete(q, { id: id(j), retryCount: held[j] })).affected,
    complete: async (q, j) => (await boss.complete(q, id(j))).affected,
    fail: async (q, j) => (await boss.fail(q, id(j))).affected,
    cancel: async (q, j) => (await boss.cancel(q, id(j))).affected,
    resume: async (q, j) => (await boss.resume(q, id(j))).affected,
    retry: async (q, j) => (await boss.retry(q, id(j))).affected,
    delete: async (q, j) => (await boss.deleteJob(q, id(j))).affected,
    state: async (q, j) => (await find(q, j)).state,
    limit: async (q, j) => (await find(q, j)).retryLimit,
    deferred: async (q, j) => { const job = await find(q, j); return job.startAfter > new Date() },
    states: async q => (await all(q)).map(j => j.state),
    datas: async q => (await all(q)).map(j => j.data.n),
    count: async q => (await all(q)).length,
    adopt: async q => (await all(q)).map(j => label(j.id)),
    blocked: async q => await boss.getBlockedKeys(q),
    letters: async q => (await all(q)).map(j => ({ data: j.data, key: j.singletonKey, source: j.sourceName, retry_count: j.sourceRetryCount, retry_limit: j.retryLimit, state: j.state })),
    redrive: async (q, o) => { const { source, ...rest } = o; return await boss.redrive(q, { ...rest, ...(source && { sourceName: source }) }) },
    publish: async e => { await boss.publish(e, {}).catch(() => {}); return null },
    subscribe: async (e, q) => { await boss.subscribe(e, q); return null },
    unsubscribe: async (e, q) => { await boss.unsubscribe(e, q); return null },
    upsert: async (q, data, o) => { const r = await boss.upsert(q, data, options(o)); return [r.updated, r.inserted] }
  }
  answers[title] = []
  for (const [verb, ...rest] of steps) {
    try {
      answers[title].push(await verbs[verb](...rest) ?? null)
    } catch (error) {
      answers[title].push(`error: ${error.message}`)
    }
  }
  await boss.stop({ graceful: false })
}
console.log(JSON.stringify(answers, null, 1))
process.exit(0)
