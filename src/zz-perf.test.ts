import { it } from 'vitest'
import { openTrialRig, adminOf } from './compose-trial.fixture.ts'
import { bundleOf } from './administration/policy.fixture.ts'
const apps = (g: string) => Array.from({length: 50}, (_, i) => `  - { id: app${i}, url: "https://app${i}.corp.example", upstream: "http://a.internal:8080", rules: [{ name: in, allow: { groups: [${g}] } }] }\n`).join('')
const doc = (g: string) => `levels:\n  reachable: { network: { cidrs: [192.0.2.0/24] } }\napps:\n${apps(g)}`
it('perf', async () => {
  const rig = await openTrialRig(doc('staff'))
  const n = Number(process.env['N'] ?? 100000)
  const [one, two] = rig.instances
  for (let i = 0; i < n; i++) (i % 2 ? one : two).open(`app${i % 50}`, { sub: `u${Math.floor(i/50) % 1000}`, groups: ['staff', `g${Math.floor(i/50) % 1000}`] }, 23 * 3600_000 - Math.floor(i / n * 22 * 3600_000))
  await rig.settle()
  const judged = await rig.judge(bundleOf(doc('other')))
  let worst = 0, last = performance.now()
  const timer = setInterval(() => { const now = performance.now(); worst = Math.max(worst, now - last - 5); last = now }, 5)
  for (let k = 0; k < 3; k++) {
    const t = performance.now(); last = t; worst = 0
    const r = await rig.instances[k % 2]!.gates.examine(judged.document!, adminOf(rig, 'ada'))
    console.log('gates', Math.round(performance.now() - t), 'ms; blocked', Math.round(worst), r.gates.length, JSON.stringify(r).slice(0, 300))
  }
  const draft = await rig.draft(doc('other'))
  const t = performance.now()
  const s = await one.trial.startImpact.carryOut({ draft, since: '24h' }, adminOf(rig, 'ada')) as any
  for (;;) {
    const r = await one.trial.impact.carryOut({ draft, id: s.value.id, limit: 10 }, adminOf(rig, 'ada')) as any
    if (r.value.state === 'done') { console.log('impact', Math.round(performance.now() - t), 'ms', r.value.result.decided, r.value.more, r.value.result.unlisted, 'blocked', Math.round(worst)); break }
    await new Promise((done) => setTimeout(done, 20))
  }
  clearInterval(timer)
  await rig.close()
}, 300000)
