/** What the trail hears of a decision is enough to make it again, and of strangers who are sent away it keeps nothing. */

import { afterEach, describe, expect, test } from 'vitest'
import { readRecordedDecision } from '../administration/recorded-decision.ts'
import { createEnvironmentReader } from '../attributes/environment-facts.ts'
import type { PlaceDatabase } from '../attributes/place-database.ts'
import type { TrailLine } from '../audit/find-decision.ts'
import { formatAuditLine } from '../audit/line.ts'
import { compilePolicy } from '../policy/compile.ts'
import { decide } from '../policy/decide.ts'
import type { Condition, Rule } from '../policy/document.ts'
import { documentWith, rule } from '../policy/policy.fixture.ts'
import { type FlowRig, get, startFlow, wiki } from './enforcement.fixture.ts'

const rigs: FlowRig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
})

const database: PlaceDatabase = {
  findCountry: () => ({ known: true, value: 'DE' }),
  findAsn: () => ({ known: true, value: 64_512 }),
  type: 'test',
  builtAt: 0,
}
const places = createEnvironmentReader({ country: () => database, asn: () => database })
/** The listener sees loopback, which is in no country. */
const readEnvironment: typeof places = (seen, needs) => places({ ...seen, address: '203.0.113.7' }, needs)

const rules: readonly Rule[] = [
  rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' }),
  rule('allow', { kind: 'public' }, { name: 'public', paths: ['/public/**'] }),
  // As demands and not as denies: what is unknown meets no demand, where it would leave a deny standing.
  required('place', '/abroad/**', { kind: 'network', cidrs: undefined, cidrsFile: undefined, countries: ['DE'], asns: [64_512] }),
  required('browser', '/browser/**', { kind: 'client', browsers: ['firefox'], browserVersion: undefined, os: undefined }),
  required('fresh', '/fresh/**', { kind: 'sign_in', strength: undefined, acr: undefined, amr: ['pwd'], withinSeconds: undefined }),
  rule(
    'deny',
    { kind: 'everyone' },
    { name: 'claim', paths: ['/claim/**'], when: [{ kind: 'expression', source: "'temp' in subject.claims" }] },
  ),
]

function required(name: string, path: string, condition: Condition): Rule {
  return rule('require', { kind: 'signed_in' }, { name, paths: [path], require: [condition] })
}

/** The line of the last decision, parsed, and that decision made again from it. */
function readBack({ events, factLines }: FlowRig) {
  const event = events.findLast((one) => one.event === 'access.decided')
  if (event?.event !== 'access.decided') throw new Error('nothing was decided')
  const decided = JSON.parse(formatAuditLine(event, Date.now(), 'one')) as TrailLine
  const textOf = (hash: string | undefined) => {
    const line = factLines.find((one) => one.event === 'facts.recorded' && one.hash === hash)
    return line?.event === 'facts.recorded' ? line.facts : undefined
  }
  const facts = { subject: textOf(event.facts?.subject), signIn: textOf(event.facts?.signIn), device: textOf(event.facts?.device) }
  const recorded = readRecordedDecision({ decided, facts }, 'https')
  const app = compilePolicy(documentWith([wiki({ rules })])).apps.get('wiki')
  return { event, recorded, again: app === undefined || recorded.facts === undefined ? undefined : decide(app, recorded.facts) }
}

async function start(): Promise<FlowRig> {
  const rig = await startFlow({ apps: [wiki({ rules })], ports: { readEnvironment } })
  rigs.push(rig)
  return rig
}

describe('the record of a decision on a person', () => {
  test.each([
    ['/page', 'staff'],
    ['/abroad/x', 'staff'],
    ['/browser/x', 'staff'],
    ['/claim/x', 'claim'],
    ['/fresh/x', 'staff'],
  ])('about %s leads to the same decision again', async (path, name) => {
    const rig = await start()
    const { cookie } = await rig.signIn('alice', undefined, { claims: { groups: ['staff'], temp: false } })
    const firefox = 'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
    await rig.ask(get(path, [`Cookie: ${cookie}`, firefox]))
    const { again, event } = readBack(rig)
    expect(again).toMatchObject({ effect: event.effect, reason: event.reason, rule: name })
    expect(event.rule).toBe(name)
  })
})

describe('of a stranger', () => {
  test('who is sent to sign in nothing is kept but the count', async () => {
    const rig = await start()
    await rig.ask(get('/page'))
    expect(readBack(rig).event).toMatchObject({ effect: 'challenge', reason: 'login_required' })
    expect(readBack(rig).event.facts).toBeUndefined()
    expect(rig.factLines).toEqual([])
  })

  test('who is let in the decision can be made again', async () => {
    const rig = await start()
    await rig.ask(get('/public/x'))
    expect(readBack(rig).again).toMatchObject({ effect: 'allow', reason: 'public', rule: 'public' })
  })
})
