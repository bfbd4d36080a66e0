/** Trying drafts over two instances: impact as the command says it, gates from what was really used, warnings from life, and what it all leaves alone. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Asker } from './administration/asker.ts'
import type { ErrandState } from './administration/errands.ts'
import { createGates } from './administration/gates.ts'
import { isConsoleTouched } from './administration/gates-console.ts'
import { packUses } from './administration/gates-uses.ts'
import { judgeUses } from './administration/gates-verdict.ts'
import { bundleOf, tokenAsker } from './administration/policy.fixture.ts'
import { compileReplayPolicy } from './commands/replay-policy.ts'
import { adminOf, openTrialRig, type TrialRig } from './compose-trial.fixture.ts'
import { createCarryOut } from './control/operations/carry-out.ts'
import type { AnyOperation, Outcome } from './control/operations/operation.ts'

const app = (id: string, rules: string, more = '') => `  - id: ${id}
    name: ${id === 'wiki' ? 'The Wiki' : id}
    url: https://${id}.corp.example
    upstream: http://${id}.internal:8080
${more}    rules:
${rules}
`
const allow = (name: string, who: string) => `      - { name: ${name}, allow: ${who} }`
const reachable = (network = '192.0.2.0/24') => `levels:\n  reachable: { network: { cidrs: ["${network}"] } }\n`
const staff = allow('staff', '{ groups: [staff] }')
const live = `${reachable()}apps:\n${app('wiki', staff)}${app('ledger', `${staff}\n${allow('books', '{ groups: [finance] }')}`)}`
const withoutWikiStaff = `${reachable()}apps:\n${app('wiki', allow('editors', '{ groups: [editors] }'))}${app('ledger', `${staff}\n${allow('books', '{ groups: [finance] }')}`)}`

const minute = 60_000
const hour = 60 * minute
let rig: TrialRig
let ada: Asker

beforeEach(async () => {
  rig = await openTrialRig(live)
  ada = adminOf(rig, 'ada')
})
afterEach(() => rig.close())

/** As the API does it, and what comes out in the form that was promised. */
async function ask(operation: AnyOperation, input: object, asker: Asker = ada): Promise<Record<string, unknown>> {
  const outcome = (await createCarryOut()(operation, input, asker)) as Outcome<Record<string, unknown>>
  if (outcome.outcome === 'refused') {
    expect(['malformed', 'not_permitted', ...operation.problems]).toContain(outcome.problem)
    return { problem: outcome.problem, message: outcome.message }
  }
  const value = JSON.parse(JSON.stringify(outcome.value)) as Record<string, unknown>
  expect(operation.output.parse(value)).toEqual(value)
  return value
}

/** Tries a draft of this text through the first instance. */
async function tryText(text: string, asker: Asker = ada) {
  return (await ask(rig.instances[0].trial.try, { draft: await rig.draft(text) }, asker)) as {
    readonly gates: readonly { readonly word: string; readonly message: string }[]
    readonly gates_notes: readonly string[]
    readonly life_warnings: readonly { readonly message: string; readonly is_certain: boolean }[]
    readonly [key: string]: unknown
  }
}

describe('the impact of a draft', () => {
  async function follow(draft: string, since = '24h', through = rig.instances[0]) {
    const { id } = (await ask(through.trial.startImpact, { draft, since })) as { readonly id: string }
    await expect.poll(async () => (await ask(through.trial.impact, { draft, id }))['state'], { timeout: 20_000 }).toBe('done')
    return await ask(through.trial.impact, { draft, id, limit: '10000' })
  }

  function openThings(): void {
    const [one, two] = rig.instances
    one.open('wiki', { sub: 'ada' }, 30 * hour)
    for (let index = 0; index < 30; index++) one.open('wiki', { sub: `u${index % 7}` }, 20 * hour - index * minute)
    for (let index = 0; index < 20; index++) two.open('wiki', { sub: `u${index % 5}` }, 10 * hour - index * minute)
    one.open('ledger', { sub: 'fin', groups: ['finance'] }, 5 * hour)
    two.open('wiki', { sub: 'edda', groups: ['editors'] }, 4 * hour)
    two.open('wiki', { sub: 'eve', isRedacted: true }, 3 * hour)
  }

  it('is what the command says of the same trails and period, from either instance', async () => {
    openThings()
    await rig.settle()
    const draft = await rig.draft(withoutWikiStaff)
    const file = await rig.write('draft.yaml', withoutWikiStaff)
    for (const [since, through] of [
      ['24h', rig.instances[0]],
      ['7d', rig.instances[1]],
    ] as const) {
      const impact = await follow(draft, since, through)
      const period = ['--since', impact['since'] as string, '--until', impact['until'] as string]
      const said = await rig.run('replay', ['--policy', file, ...period, '--dir', ...rig.instances.map(({ folder }) => folder)])
      expect(impact['result']).toEqual(said)
      expect(impact).toMatchObject({ is_stale: false, silent: [], more: { loses: 0, gains: 0, shifts: 0 }, fraction: 1 })
      expect(impact['result']).toMatchObject({ decided: since === '24h' ? 52 : 53, insufficient: 1 })
      expect((impact['result'] as { loses: unknown[] }).loses).toHaveLength(since === '24h' ? 7 : 8)
      expect((impact['result'] as { gains: unknown[] }).gains).toMatchObject([{ subject: 'edda@corp.example', rule: 'editors' }])
    }
  }, 60_000)

  it('is on record before it begins and before it is handed out, and is bounded by what was asked for', async () => {
    openThings()
    await rig.settle()
    const [one] = rig.instances
    const draft = await rig.draft(withoutWikiStaff)
    const { id } = (await ask(one.trial.startImpact, { draft, since: '24h' })) as { readonly id: string }
    expect(one.recorded).toEqual([{ event: 'data.read', actor: 'person:ada', what: 'impact', target: draft, entries: undefined }])
    await expect.poll(async () => (await ask(one.trial.impact, { draft, id }))['state'], { timeout: 20_000 }).toBe('done')
    const cut = await ask(one.trial.impact, { draft, id, limit: '2' })
    expect(cut).toMatchObject({ more: { loses: 5 }, result: { loses: [{}, {}], gains: [{}] } })
    expect(one.recorded.at(-1)).toMatchObject({ event: 'data.read', what: 'impact', entries: 3 })
  }, 30_000)

  it('says that it is stale once the draft says something else, and names who is silent', async () => {
    openThings()
    await rig.settle()
    await rig.instances[1].stop()
    const draft = await rig.draft(withoutWikiStaff)
    const impact = await follow(draft)
    expect(impact).toMatchObject({ is_stale: false, silent: [{ instance: expect.stringContaining('two') }], result: { decided: 31 } })
    const found = await rig.drafts.load(draft)
    const by = { by: 'person:ben', label: 'ben' }
    await rig.drafts.change(draft, { bundle: found?.baseBundle ?? [], by, version: found?.version ?? 0 })
    expect(await ask(rig.instances[0].trial.impact, { draft, id: impact['id'] })).toMatchObject({ is_stale: true })
  }, 30_000)

  it('ends when it is cancelled, and is not begun for what nobody could be subject to', async () => {
    const [one] = rig.instances
    const draft = await rig.draft(withoutWikiStaff)
    const { id } = (await ask(one.trial.startImpact, { draft })) as { readonly id: string }
    await ask(one.trial.cancelImpact, { draft: 'another', id })
    expect(await ask(one.trial.impact, { draft, id })).toMatchObject({ id })
    await ask(one.trial.cancelImpact, { draft, id })
    expect(await ask(one.trial.impact, { draft, id })).toMatchObject({ problem: 'not_found' })
    expect(await ask(one.trial.startImpact, { draft: await rig.draft('apps: {}\n') })).toMatchObject({ problem: 'policy_refused' })
    expect(await ask(one.trial.startImpact, { draft: 'none' })).toMatchObject({ problem: 'not_found' })
    for (const since of ['30m', '0h', '401d', '2020-01-01T00:00:00Z', 'yesterday'])
      expect(await ask(one.trial.startImpact, { draft, since })).toMatchObject({ problem: 'malformed' })
  })
})

describe('gates', () => {
  it('ask for the name of an app that nobody who used it could use any more, and only of that', async () => {
    const [one, two] = rig.instances
    one.open('wiki', { sub: 'u1' }, 2 * hour)
    two.open('wiki', { sub: 'u2' }, 3 * hour)
    one.open('ledger', { sub: 'u1' }, hour)
    await rig.settle()
    const { gates, gates_notes } = await tryText(withoutWikiStaff)
    expect(gates).toEqual([{ word: 'The Wiki', message: 'all 2 who used The Wiki in the last 24 hours would be refused' }])
    expect(gates_notes).toEqual([])
    expect((await tryText(live.replace('name: ledger', 'name: Ledger'))).gates).toEqual([])
  })

  it('stay open where one of two keeps the app, where only a better sign-in is asked for, and for what is more than a day ago', async () => {
    const [one, two] = rig.instances
    one.open('wiki', { sub: 'u1' }, 2 * hour)
    two.open('wiki', { sub: 'u2', groups: ['staff', 'editors'] }, 3 * hour)
    one.open('ledger', { sub: 'u1' }, 25 * hour)
    await rig.settle()
    expect((await tryText(withoutWikiStaff)).gates).toEqual([])
    const nobodyOnLedger = `${reachable()}apps:\n${app('wiki', staff)}${app('ledger', allow('x', '{ groups: [x] }'))}`
    expect((await tryText(nobodyOnLedger)).gates).toEqual([])
    const fresh = `${reachable()}apps:\n${app('wiki', `      - { name: staff, allow: { groups: [staff] }, when: { sign_in: { within: 30s } } }`)}`
    const { gates, problems } = await tryText(fresh)
    expect(problems).toEqual([])
    expect(gates).toEqual([])
  })

  it('count neither as kept nor as refused of whom the record does not hold enough, and say so', async () => {
    const [one, two] = rig.instances
    one.open('wiki', { sub: 'u1', isRedacted: true }, 2 * hour)
    await rig.settle()
    const untold = await tryText(withoutWikiStaff)
    expect(untold.gates).toEqual([])
    expect(untold.gates_notes[0]).toBe('whether anybody keeps The Wiki cannot be told: the groups are kept out of the trail')
    two.open('wiki', { sub: 'u2' }, hour)
    await rig.settle()
    // What was handed in is kept for some seconds; another instance asks for itself.
    const again = (await ask(two.trial.try, { draft: await rig.draft(withoutWikiStaff) })) as { readonly gates: unknown }
    expect(again.gates).toEqual([
      {
        word: 'The Wiki',
        message: 'the only one who used The Wiki in the last 24 hours would be refused, and of 1 more it cannot be told',
      },
    ])
  })

  it('ask the author about an app that they lose, and about every admin who used it', async () => {
    const [one, two] = rig.instances
    one.open('wiki', { sub: 'ada', groups: ['staff', 'admins'] }, 2 * hour)
    two.open('wiki', { sub: 'ben', groups: ['staff', 'admins'] }, hour)
    two.open('wiki', { sub: 'edda', groups: ['staff', 'editors'] }, hour)
    await rig.settle()
    expect((await tryText(withoutWikiStaff)).gates).toEqual([
      { word: 'all admins', message: 'every admin who used The Wiki in the last 24 hours would be refused there' },
      { word: 'yes, my own access', message: 'you would lose The Wiki, used by you in the last 24 hours' },
    ])
    expect((await tryText(withoutWikiStaff, tokenAsker('ci'))).gates).toMatchObject([{ word: 'all admins' }])
    // Removed altogether.
    const onlyLedger = `${reachable()}apps:\n${app('ledger', staff)}`
    expect((await tryText(onlyLedger, tokenAsker('ci'))).gates).toMatchObject([{ word: 'The Wiki' }])
  })

  it('ask before the console is taken from every admin who was there, or from the author', async () => {
    const [one, two] = rig.instances
    const roles = {
      decide: async () => ({ outcome: 'held' as const, roles: ['admin' as const], permissions: new Set<never>() }),
      rolesOf: async () => [],
    }
    const admin = (sub: string) => ({ sub, groups: ['admins'] })
    await one.visits.watch(roles).decide(one.factsOf(admin('ada')))
    await two.visits.watch(roles).decide(two.factsOf(admin('ben')))
    const elsewhere = live.replace('192.0.2.0/24', '198.51.100.0/24')
    const { gates, gates_notes } = await tryText(elsewhere)
    expect(gates).toEqual([
      { word: 'all admins', message: 'every admin who was here in the last 24 hours would lose the console' },
      { word: 'yes, my own access', message: 'you would lose the console yourself' },
    ])
    expect(gates_notes).toEqual([])
    const wider = live.replace('192.0.2.0/24', '192.0.0.0/16')
    expect((await tryText(wider)).gates).toEqual([])
    // Of a token nobody knows on what its person was let in.
    expect((await tryText(wider, tokenAsker('ci'))).gates).toEqual([
      { word: 'yes, unchecked', message: 'it could not be checked whether whoever uses this token keeps the console' },
    ])
    expect((await tryText(withoutWikiStaff, tokenAsker('ci'))).gates).toEqual([])
  })

  it('are closed for a change of the levels that the console rests on while nobody is known who was there', async () => {
    const nested = 'levels:\n  place: { network: { cidrs: ["192.0.0.0/16"] } }\n  reachable: { all_of: [place] }\n'
    for (const [text, asker] of [
      [live.replace('192.0.2.0/24', '198.51.100.0/24'), ada],
      [live.replace(reachable(), nested), ada],
    ] as const) {
      const { gates, problems } = await tryText(text, asker)
      expect(problems).toEqual([])
      expect(gates).toEqual([
        {
          word: 'yes, unchecked',
          message:
            'it could not be checked whether any admin keeps the console (none was seen there since the last start), nor whether you keep the console yourself',
        },
      ])
    }
    const documentOf = async (levels: string) =>
      (await rig.judge(bundleOf(live.replace(reachable(), `levels:\n${levels}`)))).document ?? expect.fail()
    const levels = (place: string, other: string) =>
      `  place: { network: { cidrs: ["${place}"] } }\n  other: { network: { cidrs: ["${other}"] } }\n  reachable: { any_of: [{ all_of: [place] }] }\n`
    const before = await documentOf(levels('192.0.0.0/16', '10.0.0.0/8'))
    const settings = rig.configuration.console
    expect(isConsoleTouched(before, await documentOf(levels('192.0.0.0/17', '10.0.0.0/8')), settings)).toBe(true)
    expect(isConsoleTouched(before, await documentOf(levels('192.0.0.0/16', '10.0.0.0/9')), settings)).toBe(false)
    // The console rests on nothing of this.
    expect((await tryText(live.replace('levels:', 'levels:\n  other: { network: { cidrs: ["192.0.0.0/16"] } }'))).gates).toEqual([])
    const found = await rig.drafts.load(await rig.draft(live.replace('192.0.2.0/24', '198.51.100.0/24')))
    expect(await rig.instances[0].gates.find(await rig.judge(found?.bundle ?? []), ada)).toMatchObject([{ word: 'yes, unchecked' }])
  })

  it('are the ones that publishing asks for', async () => {
    const [one] = rig.instances
    one.open('wiki', { sub: 'u1' }, 2 * hour)
    await rig.settle()
    const found = await rig.drafts.load(await rig.draft(withoutWikiStaff))
    const judged = await rig.judge(found?.bundle ?? [])
    expect(await one.gates.find(judged, ada)).toMatchObject([{ word: 'The Wiki' }])
    expect(await one.gates.find({ ...judged, document: undefined }, ada)).toEqual([])
  })

  it('are closed where nobody could tell in time: unknown is no yes', async () => {
    const [one] = rig.instances
    one.open('wiki', { sub: 'u1' }, 2 * hour)
    await rig.settle()
    const after = (await rig.judge(bundleOf(withoutWikiStaff))).document ?? expect.fail()
    const anchors = { async *list() {} }
    const parts = {
      anchors,
      now: rig.place.clock.now,
      errands: one.errands,
      inForce: () => rig.document,
      settings: rig.configuration.console,
      monotonicNow: () => performance.now(),
    }
    const never = (_question: unknown, signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    for (const timeouts of [
      { askMs: 1, judgeMs: 20_000 },
      { askMs: 20_000, judgeMs: 1 },
    ])
      expect((await createGates({ ...parts, judge: never, timeouts }).examine(after, ada)).gates).toEqual([
        { word: 'yes, unchecked', message: 'whom this would shut out could not be found out in time' },
      ])
  })

  it('say which instance could not tell', async () => {
    const [one, two] = rig.instances
    one.open('wiki', { sub: 'u1' }, 2 * hour)
    await rig.settle()
    await two.stop()
    const { gates, gates_notes } = await tryText(withoutWikiStaff)
    expect(gates).toMatchObject([{ word: 'The Wiki' }])
    expect(gates_notes).toContain('who used what through two-1 is not known: no instance that answered has this chain')
  }, 40_000)

  it('are closed for an app that was perhaps used through an instance that could not tell, and for no other', async () => {
    const [one, two] = rig.instances
    two.open('wiki', { sub: 'u1' }, 2 * hour)
    one.open('ledger', { sub: 'u2' }, hour)
    await rig.settle()
    await two.stop()
    expect((await tryText(withoutWikiStaff)).gates).toEqual([
      {
        word: 'yes, unchecked',
        message:
          'it could not be checked whether anybody who used The Wiki in the last 24 hours keeps it (what was used through two-1 is not known)',
      },
    ])
    // Somebody is known to keep the only app that this touches.
    expect((await tryText(live.replace('name: books', 'name: accounts'))).gates).toEqual([])
  }, 40_000)

  it('are closed for an app of which nothing was seen in the part of a day that was looked at', async () => {
    const [one] = rig.instances
    const after = (await rig.judge(bundleOf(withoutWikiStaff))).document ?? expect.fail()
    const part = { uses: packUses({ uses: [], isComplete: false }).uses, isComplete: false, visits: [], chains: [] }
    const state = { id: 'x', kind: 'x', input: {}, begunAt: 0, parts: [{ instance: 'one', state: 'done', part }], isOver: true } as const
    const gates = createGates({
      anchors: { async *list() {} },
      now: rig.place.clock.now,
      errands: { ...one.errands, ask: async <P>() => state as unknown as ErrandState<P> },
      inForce: () => rig.document,
      settings: rig.configuration.console,
      monotonicNow: () => performance.now(),
      judge: (question) => judgeUses(question, compileReplayPolicy),
    })
    expect((await gates.examine(after, ada)).gates).toEqual([
      {
        word: 'yes, unchecked',
        message:
          'it could not be checked whether anybody who used The Wiki in the last 24 hours keeps it (not all of the last 24 hours was looked at)',
      },
    ])
  })
})

describe('trying a draft', () => {
  it('says what is different and what nobody ever carried, in the words of the check', async () => {
    await rig.signedIn('ada', ['/finance', 'staff'])
    const tried = await tryText(live.replace('[staff]', '[finance]'))
    expect(tried).toMatchObject({ problems: [], objections: [], tests: null, difference: ['app wiki: rule "staff" changed'] })
    expect(tried.life_warnings).toContainEqual(
      expect.objectContaining({ is_certain: true, message: 'no sign-in on record carried `finance`; seen: `/finance`' }),
    )
    expect(rig.instances[0].recorded).toEqual([])
  })

  it('says where its problems are, and nothing that rests on a document that there is not', async () => {
    await rig.signedIn('ada', ['staff'])
    const tried = await tryText(live.replace('allow: { groups', 'alow: { groups'))
    expect(tried).toMatchObject({ policy_version: null, difference: [], life_warnings: [], gates: [], tests: null })
    expect(tried['problems']).toContainEqual(expect.objectContaining({ file: 'policy.yaml', line: expect.any(Number) }))
    const merged = await tryText(`${live}<<<<<<< this draft\n=======\n>>>>>>> revision 2\n`)
    expect(merged['problems']).toContainEqual(
      expect.objectContaining({ message: 'a mark of a merge is left here', line: expect.any(Number) }),
    )
    expect(await ask(rig.instances[0].trial.try, { draft: 'none' })).toMatchObject({ problem: 'not_found' })
  })

  it('needs the right to read the policy, and an impact that to read the trail', async () => {
    const draft = await rig.draft(live)
    const only = (...permissions: string[]): Asker => ({ ...ada, permissions: new Set(permissions as never[]) })
    const { impact, startImpact, try: tryIt } = rig.instances[0].trial
    expect(await ask(tryIt, { draft }, only('audit:read'))).toMatchObject({ problem: 'not_permitted' })
    expect(await ask(tryIt, { draft }, only('policy:read'))).toMatchObject({ draft })
    expect(await ask(startImpact, { draft }, only('policy:read'))).toMatchObject({ problem: 'not_permitted' })
    expect(await ask(startImpact, { draft }, only('audit:read'))).toMatchObject({ problem: 'not_permitted' })
    expect(await ask(impact, { draft, id: 'x'.repeat(22) }, only('audit:read'))).toMatchObject({ problem: 'not_permitted' })
    expect(rig.instances[0].recorded).toEqual([])
  })
})
