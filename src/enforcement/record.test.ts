/** What the trail hears of a decision is enough to make it again, and of strangers who are sent away it keeps nothing. */

import { afterEach, describe, expect, test } from 'vitest'
import { readRecordedDecision } from '../administration/recorded-decision.ts'
import { createEnvironmentReader } from '../attributes/environment-facts.ts'
import type { PlaceDatabase } from '../attributes/place-database.ts'
import type { TrailLine } from '../audit/find-decision.ts'
import { formatAuditLine } from '../audit/line.ts'
import { compilePolicy } from '../policy/compile.ts'
import { decide } from '../policy/decide.ts'
import type { App, Condition, Rule } from '../policy/document.ts'
import { documentWith, reportedDevice, rule } from '../policy/policy.fixture.ts'
import { type FlowRig, get, startFlow, wiki } from './enforcement.fixture.ts'
import type { EnforcementPorts, EnforcementSettings } from './ports.ts'

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

interface Changes {
  readonly app?: Partial<App>
  readonly recording?: Partial<EnforcementSettings['recording']>
  readonly ports?: Partial<EnforcementPorts>
}

async function start({ app = {}, ports = {}, recording = {} }: Changes = {}): Promise<FlowRig> {
  const settings = { recording: { query: 'drop', recordClaims: [], redact: [], groupClaims: [['groups']], ...recording } } as const
  const rig = await startFlow({ apps: [wiki({ rules, ...app })], ports: { readEnvironment, ...ports }, settings })
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

describe('what is recorded beyond what was asked for', () => {
  const phone =
    'User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Mobile/15E148 Safari/604.1'
  /** No rule of this app asks for a place, a browser or a claim. */
  const plain = { rules: [rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'staff' })] }

  test('is the place wherever a database has it, the browser and the method class', async () => {
    const rig = await start({ app: plain })
    const { cookie } = await rig.signIn('alice')
    await rig.ask(
      get('/page', [`Cookie: ${cookie}`, phone, 'Origin: https://wiki.corp.example', 'Content-Length: 0'], 'wiki.corp.example', 'POST'),
    )
    const { environment, request } = readBack(rig).recorded.facts ?? {}
    expect(environment).toMatchObject({
      country: { value: 'DE' },
      asn: { value: 64_512 },
      client: { browser: { value: 'safari' }, os: { value: 'ios' } },
    })
    expect(request?.methodClass).toBe('write')
  })

  test('is nothing of a place where there is no database', async () => {
    const rig = await startFlow()
    rigs.push(rig)
    const { cookie } = await rig.signIn('alice')
    await rig.ask(get('/page', [`Cookie: ${cookie}`]))
    expect(readBack(rig).event.circumstances).toBeUndefined()
    expect(readBack(rig).recorded.facts?.environment.country).toEqual({ known: false, why: 'not_gathered' })
  })

  test('is each claim of `record_claims`, those that are not there included', async () => {
    const rig = await start({ app: plain, recording: { recordClaims: [['department'], ['office', 'city'], ['missing']] } })
    const { cookie } = await rig.signIn('alice', undefined, {
      claims: { groups: ['staff'], department: 'finance', office: { city: 'Oslo', room: 5 } },
    })
    await rig.ask(get('/page', [`Cookie: ${cookie}`]))
    const { recorded } = readBack(rig)
    expect(recorded.facts?.subject).toMatchObject({ claims: { known: true, value: { department: 'finance', office: { city: 'Oslo' } } } })
    expect(JSON.stringify(recorded.facts)).not.toContain('room')
    expect(typeof recorded.evidence === 'string' || [...recorded.evidence.claimPaths]).toContain('["missing"]')
  })
})

describe('what is kept out of the record', () => {
  test.each([
    ['full', '/records/4711', '/records/4711', undefined],
    ['first_segment', '/records/4711', '/records/…', 'first_segment'],
    ['first_segment', '/records', '/records', undefined],
    ['first_segment', '/', '/', undefined],
    ['none', '/records/4711', '', 'none'],
  ] as const)('is the path with `paths: %s`, for %s', async (paths, asked, path, pathRedacted) => {
    const audit = { paths, durability: undefined, whenFull: undefined }
    const rig = await start({ app: { audit }, recording: { query: 'keep' } })
    const { cookie } = await rig.signIn('alice')
    await rig.ask(get(`${asked}?id=4711`, [`Cookie: ${cookie}`]))
    const { event, recorded } = readBack(rig)
    expect(event).toMatchObject({ path, effect: 'allow' })
    expect(event.pathRedacted).toBe(pathRedacted)
    expect(event.query).toBe(paths === 'full' ? '?id=4711' : undefined)
    expect(typeof recorded.evidence !== 'string' && recorded.evidence.isPathWhole).toBe(pathRedacted === undefined)
  })

  test('is in no line, in no log and in no metric, and unknown to whoever decides again', async () => {
    const redact = ['email', 'address', 'user_agent', 'groups', 'claims', 'country', 'asn'] as const
    const loud = [rule('allow', { kind: 'groups', groups: ['staff'] }, { name: 'all', isAlert: true }), ...rules.slice(2)]
    const reading = { device: reportedDevice({ owner: 'alice.secret@corp.example' }), isChanged: false }
    const ports = { devices: { recall: () => reading, read: async () => reading } }
    const rig = await start({ app: { rules: loud }, ports, recording: { redact, recordClaims: [['nickname'], ['email'], ['groups']] } })
    const { cookie } = await rig.signIn('alice', undefined, {
      claims: { groups: ['staff', 'moon-base'], email: 'alice.secret@corp.example', email_verified: true, nickname: 'Lissy' },
    })
    const lines = [`Cookie: ${cookie}`, 'User-Agent: HushBrowser/9', 'X-Forwarded-For: 203.0.113.99']
    for (const path of ['/page', '/abroad/x', '/browser/x', '/claim/x', '/.postern/nothing']) await rig.ask(get(path, lines))
    await rig.ask('GET //x HTTP/1.1\r\nHost: wiki.corp.example\r\nUser-Agent: HushBrowser/9\r\n\r\n')
    expect(rig.alerts).toContain('wiki')
    const text = JSON.stringify([rig.events, rig.factLines, rig.logged, rig.observed])
    for (const secret of ['moon-base', 'alice.secret', 'Lissy', 'HushBrowser', '127.0.0.1', '203.0.113', '"DE"', '64512'])
      expect(text, secret).not.toContain(secret)
    const { recorded } = readBack({ ...rig, events: rig.events.filter((one) => one.event === 'access.decided' && one.facts !== undefined) })
    const redacted = { known: false, why: 'redacted' }
    expect(recorded.facts?.subject).toMatchObject({ sub: 'alice', email: redacted, groups: redacted, claims: redacted })
    expect(recorded.facts?.environment).toMatchObject({ address: '', country: redacted, asn: redacted })
  })
})

describe('a request that never came to a decision', () => {
  const strange = '/page%2Fx'

  test('is nobody’s where nobody is signed in: malformed, for no app, or for no host of ours', async () => {
    const rig = await start()
    await rig.ask(get(strange))
    await rig.ask(get('/page', [], 'unknown.corp.example'))
    await rig.ask('GET //x HTTP/1.1\r\nHost: wiki.corp.example\r\n\r\n')
    const decided = rig.events.flatMap((event) => (event.event === 'access.decided' ? [[event.subject.kind, event.reason]] : []))
    expect(decided).toEqual([
      ['nobody', 'bad_request'],
      ['nobody', 'app_not_found'],
      ['nobody', 'bad_request'],
    ])
  })

  test('is a person’s whose session memory has, with as much of the path as the app lets be recorded', async () => {
    const rig = await start({ app: { audit: { paths: 'none', durability: undefined, whenFull: undefined } } })
    const { cookie, session } = await rig.signIn('alice')
    await rig.ask(get('/page', [`Cookie: ${cookie}`]))
    await rig.ask(get(strange, [`Cookie: ${cookie}`]))
    const event = rig.events.findLast((one) => one.event === 'access.decided')
    expect(event).toMatchObject({
      subject: { kind: 'person', sub: 'alice' },
      session: session.id,
      app: 'wiki',
      reason: 'bad_request',
      path: '',
    })
    await rig.ask(get(strange, ['Cookie: __Host-postern-app=somebody']))
    expect(rig.events.findLast((one) => one.event === 'access.decided')).toMatchObject({ subject: { kind: 'nobody' } })
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
