/** What-if questions: the answer of the command, what a draft would say instead, of whom it may be asked, and what is on record then. */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Asker } from '../../administration/asker.ts'
import { permissionsByRole } from '../../administration/asker.ts'
import { refOf } from '../../administration/person-ref.ts'
import { adminOf, openTrialRig, type TrialRig } from '../../compose-trial.fixture.ts'
import type { Explanation } from '../../policy/explain.ts'
import type { Facts } from '../../policy/facts.ts'
import { createCarryOut } from './carry-out.ts'
import type { AnyOperation, Outcome } from './operation.ts'
import { describeFacts, describeRules } from './trail-schemas.ts'
import type { WhatIfOutput } from './what-if-schemas.ts'

const live = `levels:
  reachable: { network: { cidrs: [192.0.2.0/24] } }
services:
  billing: { jwt: { issuer: https://login.corp.example, claims: { azp: billing }, audience: https://wiki.corp.example } }
rules:
  - { name: no guests, deny: { groups: [guests] } }
apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:8080
    rules:
      - { name: staff, allow: { groups: [staff] }, when: { sign_in: { within: 1h } } }
      - { name: machines, allow: { services: [billing] } }
      - { name: known devices, allow: { groups: [field] }, when: { device: { known: true } } }
  - id: ledger
    url: https://ledger.corp.example
    upstream: http://ledger.internal:8080
    rules:
      - { name: everybody, allow: { signed_in: true } }
`

let rig: TrialRig
let ada: Asker
let at: string
const url = 'https://wiki.corp.example/page?x=1'

beforeAll(async () => {
  rig = await openTrialRig(live)
  ada = adminOf(rig, 'ada')
  await rig.signedIn('grace', ['staff'])
  await rig.signedIn('gus', ['staff', 'guests'])
  at = new Date(rig.place.clock.now()).toISOString()
})
afterAll(() => rig.close())
beforeEach(() => {
  for (const { recorded } of rig.instances) recorded.length = 0
})

async function ask(input: object, asker: Asker = ada): Promise<WhatIfOutput & { readonly problem?: string; readonly detail?: unknown }> {
  const operation: AnyOperation = rig.instances[0].whatIf.whatIf
  const outcome = (await createCarryOut()(operation, input, asker)) as Outcome<WhatIfOutput>
  if (outcome.outcome === 'refused') {
    expect(['malformed', 'not_permitted', ...operation.problems]).toContain(outcome.problem)
    return outcome as never
  }
  const value = JSON.parse(JSON.stringify(outcome.value)) as WhatIfOutput
  expect(operation.output.parse(value)).toEqual(value)
  return value
}

/** What the command says, in the form of the operation. */
async function explained(args: readonly string[], instant = at) {
  const said = (await rig.run('explain', [...args, ...(args.length === 1 ? [] : ['--at', instant])])) as unknown as Explanation & {
    readonly notes: readonly string[]
    readonly facts: Facts | undefined
  }
  return {
    notes: said.notes
      .map((note) => note.replace(', as given on the command line', ', as given'))
      .filter((note) => !note.startsWith('app: ')),
    effect: said.decision?.effect,
    reason: said.decision?.reason,
    rules: said.rules === undefined ? [] : describeRules(said, Date.parse(instant)),
    facts: describeFacts(said.facts),
  }
}

const seen = ({ facts, in_force: { effect, reason, rules }, notes }: WhatIfOutput) => ({ notes, effect, reason, rules, facts })

describe('a what-if', () => {
  it('says what the command says, of people, services, strangers, devices and sign-ins', async () => {
    const cases: readonly (readonly [readonly string[], object])[] = [
      [['grace@corp.example', url], { who: 'grace@corp.example' }],
      [['grace', url, '--signed-in', '10m', '--amr', 'otp'], { who: 'grace', signed_in_ago: '10m', amr: ['otp'] }],
      [['gus@corp.example', url, '--signed-in', '10m'], { who: 'gus@corp.example', signed_in_ago: '10m' }],
      [
        ['new@corp.example', url, '--group', 'field', '--device', 'laptop-1'],
        { who: 'new@corp.example', groups: ['field'], device: 'laptop-1' },
      ],
      [['service:billing', url, '-X', 'POST'], { who: 'service:billing', method: 'POST' }],
      [['nobody', url, '--ip', '198.51.100.7', '--country', 'DE'], { who: 'nobody', address: '198.51.100.7', country: 'DE' }],
    ]
    for (const [args, input] of cases) {
      const answer = await ask({ url, at, ...input })
      expect(seen(answer)).toEqual(await explained(args))
      expect(answer).toMatchObject({ draft: null, differs: [], recorded: null, in_force: { app: 'wiki', gap: null } })
    }
    const byRef = await ask({ who: refOf({ issuer: rig.configuration.provider.issuer.href, sub: 'grace' }), url, at })
    expect(seen(byRef)).toEqual(await explained(['grace', url]))
    expect(await ask({ who: 'nobody', url: 'https://elsewhere.example/' })).toMatchObject({
      in_force: { effect: 'deny', reason: 'app_not_found', app: null, rules: [] },
    })
  })

  it('names the lock that decides', async () => {
    const target = { kind: 'subject', issuer: rig.configuration.provider.issuer.href, sub: 'gus' } as const
    await rig.access.locks.set({ target, label: 'gus@corp.example', until: undefined, reason: 'left' }, 'person:ada')
    const answer = await ask({ who: 'gus', url, at, signed_in_ago: '1m' })
    expect(answer.in_force).toMatchObject({ effect: 'deny', reason: 'locked' })
    expect(seen(answer)).toEqual(await explained(['gus', url, '--signed-in', '1m']))
    await rig.access.locks.lift(target, undefined, 'person:ada')
  })

  it('holds a draft beside it, and says what differs', async () => {
    const text = live
      .replace('allow: { groups: [staff] }, when', 'allow: { groups: [editors] }, when')
      .replace('no guests, deny: { groups: [guests] }', 'no ghosts, deny: { groups: [ghosts] }')
    const draft = await rig.draft(text)
    const answer = await ask({ who: 'grace', url, at, draft, signed_in_ago: '1m' })
    expect(answer.in_force).toMatchObject({ effect: 'allow', rule: 'staff' })
    expect(answer.draft).toMatchObject({ id: draft, effect: 'deny', reason: 'no_rule_matched', app: 'wiki' })
    expect(answer.differs).toEqual([
      'allow becomes deny: no_rule_matched, the nearest is "machines"',
      expect.stringMatching(/^deny "no ghosts" is new: /),
      expect.stringMatching(/^allow "staff": .* → Something in it is false/),
      expect.stringMatching(/^deny "no guests" is gone; until now: /),
    ])
    expect((await ask({ who: 'grace', url, at, draft: await rig.draft(live), signed_in_ago: '1m' })).differs).toEqual([])
    const renamed = await rig.draft(live.replace('- id: wiki', '- id: pages'))
    expect((await ask({ who: 'grace', url, at, draft: renamed, signed_in_ago: '1m' })).differs).toEqual([
      'answered by the app pages instead of the app wiki',
    ])
    expect(await ask({ who: 'grace', url, draft: 'none' })).toMatchObject({ problem: 'not_found' })
    expect(await ask({ who: 'grace', url, draft: await rig.draft('apps: {}\n') })).toMatchObject({ problem: 'policy_refused' })
  })

  it('asks about a service that only a draft has, and refuses its token where it has none', async () => {
    const draft = await rig.draft(live.replaceAll('billing', 'shipping'))
    const answer = await ask({ who: 'service:shipping', url, at, draft })
    expect(answer).toMatchObject({ in_force: { effect: 'deny', reason: 'invalid_token' }, draft: { effect: 'allow', rule: 'machines' } })
    expect(await ask({ who: 'service:none', url, at, draft })).toMatchObject({
      problem: 'malformed',
      detail: { fields: { who: expect.anything() } },
    })
  })

  it('decides a recorded request again, wherever it was recorded, as the command explains it and a replay would decide', async () => {
    const [one, two] = rig.instances
    const mine = one.open('wiki', { sub: 'u1' }, 3_600_000)
    const theirs = two.open('wiki', { sub: 'u2' }, 1_800_000)
    const redacted = two.open('wiki', { sub: 'u3', isRedacted: true }, 1_700_000)
    await rig.settle()
    const draft = await rig.draft(live.replace('allow: { groups: [staff] }, when', 'allow: { groups: [editors] }, when'))
    const answer = await ask({ request: mine, draft })
    expect(answer).toMatchObject({
      recorded: { request: mine, instance: 'one', effect: 'allow', rule: 'staff' },
      in_force: { effect: 'allow', rule: 'staff', app: 'wiki' },
      draft: { effect: 'deny', reason: 'no_rule_matched', app: 'wiki', gap: null },
    })
    expect(seen(answer)).toEqual(await explained([mine], answer.at))
    expect(answer.differs[0]).toMatch(/^allow becomes deny: no_rule_matched/)
    expect(await ask({ request: theirs })).toMatchObject({ recorded: { instance: 'two' }, draft: null })
    const untold = await ask({ request: redacted, draft })
    expect(untold).toMatchObject({ in_force: { effect: null }, draft: { effect: null, rules: [] }, differs: [] })
    expect(untold.draft?.gap).toBe('it cannot be decided again: the groups are kept out of the trail')
    expect(await ask({ request: 'none' })).toMatchObject({ problem: 'not_found' })
  }, 30_000)

  it('is on record before anything is looked up of somebody, and needs the right to read the trail then', async () => {
    const [one] = rig.instances
    await ask({ who: 'grace', url, at })
    expect(one.recorded).toEqual([{ event: 'data.read', actor: 'person:ada', what: 'what_if', target: 'grace', entries: undefined }])
    one.recorded.length = 0
    const only: Asker = { ...ada, permissions: new Set(['policy:read']) }
    for (const input of [{ who: 'grace', url }, { who: 'nobody', url, device: 'laptop-1' }, { request: 'one-request-1' }])
      expect(await ask(input, only)).toMatchObject({ problem: 'not_permitted' })
    expect(await ask({ who: 'nobody', url }, only)).toMatchObject({ in_force: { effect: 'challenge' } })
    expect(await ask({ who: 'service:billing', url }, only)).toMatchObject({ in_force: { effect: 'allow' } })
    expect(one.recorded).toEqual([])
    const helpdesk: Asker = { ...ada, roles: ['helpdesk'], permissions: permissionsByRole.helpdesk }
    expect(await ask({ who: 'nobody', url }, helpdesk)).toMatchObject({ problem: 'not_permitted' })
    const auditor: Asker = { ...ada, roles: ['auditor'], permissions: permissionsByRole.auditor }
    expect(await ask({ who: 'grace', url }, auditor)).toMatchObject({ in_force: { app: 'wiki' } })
  })

  it('is refused at the field that is wrong', async () => {
    const wrong: readonly (readonly [string, object])[] = [
      ['who', { url }],
      ['url', { who: 'nobody' }],
      ['url', { who: 'nobody', url: 'wiki' }],
      ['url', { who: 'nobody', url: 'javascript:alert(1)' }],
      ['request', { request: 'r', who: 'nobody' }],
      ['at', { who: 'nobody', url, at: 'tomorrow' }],
      ['address', { who: 'nobody', url, address: 'here' }],
      ['country', { who: 'nobody', url, country: 'de' }],
      ['signed_in_ago', { who: 'grace', url, signed_in_ago: 'long' }],
    ]
    for (const [field, input] of wrong) {
      const refused = await ask(input)
      expect([field, refused.problem, Object.keys((refused.detail as { readonly fields: object }).fields)]).toEqual([
        field,
        'malformed',
        [field],
      ])
    }
  })
})
