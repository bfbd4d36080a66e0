/**
 * Work: patterns that take for ever, thousands of rules, and what strangers send to make either of them expensive.
 *
 * Safe: refused when the document is loaded, or bounded for whatever a stranger sends. Work is measured as CPU time of the instance, which
 * other processes of the machine do not change.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { allowWhen, appLines, type PolicyCheck, startPolicyCheck } from '../support/policy-check.ts'
import { readCpuMs } from '../support/process-facts.ts'
import { type Rig, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, sendLine, signedInCookie, summarise } from './attack.ts'

describe('expensive policy documents', () => {
  let documents: PolicyCheck
  beforeAll(async () => {
    documents = await startPolicyCheck()
  })
  afterAll(() => documents.remove())

  attack('A237', 'POL', 'patterns that take for ever are refused when they are loaded, or cannot', async () => {
    const patterns = {
      refused: [
        '(.*a){200}',
        '(.*a){20}',
        '(?=a)',
        '(?!a)a',
        '(a)\\1',
        '(?<=a)b',
        '((a{100}){100}){100}',
        '(a{1000}){1000}',
        'a{257}',
        `(${'a?'.repeat(128)})${'a'.repeat(128)}`,
        '(?R)',
        '(',
        'a**',
        '(?<n>a)\\k<n>',
        'x'.repeat(300),
        '[z-a]',
      ],
      accepted: [
        '^(a+)+$',
        '(.*a){15}',
        '^(([a-z])+.)+[A-Z]([a-z])+$',
        '(a|aa)+$',
        '(a|a?)+$',
        '^(a?){15}a{15}$',
        '([a-zA-Z]+)*$',
        '(.*)*$',
      ],
    }
    const rule = (pattern: string) => allowWhen(`expression: ${JSON.stringify(`re(request.path, ${JSON.stringify(pattern)})`)}`)
    const others = [
      allowWhen(`expression: ${JSON.stringify('request.path.matches("^a$")')}`),
      allowWhen(`expression: ${JSON.stringify('re(request.path, request.method)')}`),
      allowWhen(`expression: ${JSON.stringify('re(request.path, "a" + "b")')}`),
      allowWhen(`expression: ${JSON.stringify(`${'('.repeat(9)}true${')'.repeat(8)}`)}`),
      allowWhen(
        `expression: ${JSON.stringify('subject.groups.exists(a, subject.groups.exists(b, subject.groups.exists(c, a + b == c)))')}`,
      ),
      allowWhen(`expression: ${JSON.stringify(`${'!'.repeat(900)}true`)}`),
      allowWhen(`expression: ${JSON.stringify(`${'('.repeat(450)}true${')'.repeat(450)}`)}`),
    ]
    const kept = await documents.accepted([...patterns.refused.map(rule), ...patterns.accepted.map(rule), ...others])
    expect(kept.filter((one) => patterns.refused.map(rule).includes(one))).toEqual([])
    expect(kept.filter((one) => patterns.accepted.map(rule).includes(one))).toEqual(patterns.accepted.map(rule))
    // Deep but harmless ones may be accepted; what multiplies may not.
    expect(kept.filter((one) => others.slice(0, 5).includes(one))).toEqual([])
    return `${patterns.refused.length + 5} refused, ${patterns.accepted.length} accepted, which take linear time (A237b)`
  })

  attack('A239', 'POL', 'five thousand rules, some of them in the shadow of others', async () => {
    const many = Array.from({ length: 5000 }, (_, index) => `allow: { groups: ["g${index}"] }, paths: ["/p${index}/**"]`)
    const shadowed = ['allow: { groups: [staff] }, paths: ["/hidden/**"]', 'deny: { signed_in: true }, paths: ["/hidden/**"]']
    const twice = ['name: "same", allow: { groups: [a] }', 'name: "same", deny: { groups: [b] }']
    const { code, problems } = await documents.check([...appLines, ...twice.map((rule) => `  - { ${rule} }`)])
    expect(code).toBe(1)
    expect(problems.map(({ line }) => line)).toContain(appLines.length + 2)
    const rules = [...many, ...shadowed].map((rule, index) => `  - { name: "r${index}", ${rule} }`)
    const checked = await documents.check([...appLines, ...rules])
    expect(checked.code).toBe(0)
    expect(checked.warnings.find(({ line }) => line === appLines.length + many.length + 1)?.message).toMatch(/never lets anybody in/)
    return 'the shadowed one is named with its line; two of one name are refused'
  })
})

describe('a large policy, and what strangers send it', () => {
  let rig: Rig
  let cookie: string
  const groups = ['only/a*a*a*a*a*a*a*a*a*b', '*a*a*a*a*a*a*a*a*a*a*c']
  const patterns = ['^(a+)+$', '(.*a){15}', '^(([a-z])+.)+[A-Z]([a-z])+$', '(a|aa)+$', '^/(a?){15}a{15}$', '(.*)*!$']
  const glob = `/glob/${'*a'.repeat(40)}*b`

  beforeAll(async () => {
    const signedIn = { signed_in: true }
    // Every pattern looks at every path, so that none is spared.
    const conditions = patterns.map((pattern) => ({ expression: `re(request.path, ${JSON.stringify(pattern)})` }))
    const client = { client: { browser: ['safari'], browser_version: '>= 99999', os: ['ios'] } }
    rig = await startRig({
      configuration: { limits: { header_bytes: '256KiB' } },
      apps: [
        {
          id: 'app',
          identity: { only_groups: groups },
          rules: [
            { name: 'start', allow: { groups: ['staff'] }, paths: ['/ok'] },
            ...conditions.map((condition, index) => ({ name: `pattern ${index}`, allow: signedIn, when: [condition, { not: condition }] })),
            { name: 'glob', allow: signedIn, paths: [glob] },
            { name: 'glob deny', deny: signedIn, paths: [glob] },
            { name: 'client', allow: signedIn, when: [client], paths: ['/client'] },
            ...Array.from({ length: 5000 }, (_, index) => ({
              name: `bulk ${index}`,
              allow: { groups: ['staff'] },
              paths: [`/bulk/${index}/*a*b`],
            })),
            { name: 'hidden', deny: { groups: ['staff'] }, paths: ['/bulk/17/**'] },
          ],
        },
      ],
    })
    cookie = await signedInCookie(rig, new Client(), 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(() => endRig(rig))
  beforeEach(() => rig.upstream('app').reset())
  afterEach(() => mustBeAlive(rig))

  const send = (path: string, headers: readonly string[] = []) =>
    sendLine(rig, `GET ${path} HTTP/1.1`, [...headers, `Cookie: ${cookie}`, 'Connection: close'])

  /** CPU of the instance for one such request, over several. The garbage of the ones before is in it too. */
  async function cpuOf(path: string, headers: readonly string[] = [], statuses: readonly number[] = [403]): Promise<number> {
    const rounds = 12
    for (let round = 0; round < 3; round += 1) await send(path, headers)
    const before = await readCpuMs(rig.instance.pid)
    for (let round = 0; round < rounds; round += 1) expect(statuses).toContain((await send(path, headers)).statuses[0])
    return ((await readCpuMs(rig.instance.pid)) - before) / rounds
  }

  attack('A237b', 'POL', 'paths, user agents and cookies made for patterns hold nobody up', async () => {
    const payloads: Readonly<Record<string, readonly [path: string, ...headers: string[]]>> = {
      '50 KB of a': [`/${'a'.repeat(50_000)}`],
      '2,000 a and a bang': [`/${'a'.repeat(2000)}!`],
      '30 a and a bang': [`/${'a'.repeat(30)}!`],
      'a path of 1,000 segments': [`/${'aA/'.repeat(1000)}a`],
      escapes: [`/${'%C3%A4'.repeat(8000)}`],
      'dots and parameters': [`/glob/${'a.'.repeat(10_000)}`],
      'a glob of 40 stars': [`/glob/${'a'.repeat(50_000)}c`],
      'a glob that nearly matches': [`/glob/${'ab'.repeat(20_000)}a`],
      'a user agent of 500 a': ['/client', `User-Agent: ${'a'.repeat(500)}`],
      'a user agent of 60 KB': ['/client', `User-Agent: Mozilla/5.0 (${'(iPhone;'.repeat(8000)}`],
      'a user agent of versions': ['/client', `User-Agent: ${'Version/1.1.1.1 Safari/'.repeat(21)}`],
      'a cookie of 100 KB': ['/client', `Cookie: ${'a=b; '.repeat(20_000)}`],
      'a language of 60 KB': ['/client', `Accept-Language: ${'a-'.repeat(30_000)}`, `Accept: ${'*/*,'.repeat(15_000)}`],
    }
    const plain = await cpuOf('/nothing')
    const worst = { what: '', ms: 0 }
    for (const [what, [path, ...headers]] of Object.entries(payloads)) {
      const ms = await cpuOf(path, headers, [400, 401, 403, 431])
      expect(ms, what).toBeLessThan(50 + plain)
      if (ms > worst.ms) Object.assign(worst, { what, ms })
    }
    expect(rig.upstream('app').bytes()).toBe('')
    const most = `at most ${worst.ms.toFixed(0)} ms of CPU (${worst.what})`
    return `${Object.keys(payloads).length} payloads, ${most}; a plain refusal ${plain.toFixed(0)} ms`
  })

  attack('A239b', 'POL', 'five thousand rules decide in the same way and in time, in any order', async () => {
    const asked = ['/bulk/17/xaxb', '/bulk/18/xaxb', '/BULK/17/x', '/bulk/4999/ab', '/bulk/5000/ab', '/bulk/0/b']
    const answers = async () => await Promise.all(asked.map(async (path) => (await send(path)).statuses[0]))
    const first = await answers()
    expect(first).toEqual([403, 200, 403, 200, 403, 403])
    const ms = Math.max(await cpuOf('/bulk/5000/ab'), await cpuOf('/bulk/4999/ab', [], [200]))
    expect(ms).toBeLessThan(50)
    const [app] = rig.policy['apps'] as { rules: object[] }[]
    const arrived = { name: 'arrived', allow: { signed_in: true }, paths: ['/arrived'] }
    await rig.writePolicy({ apps: [{ ...app, rules: [...(app?.rules ?? []), arrived].reverse() }] })
    await waitFor(async () => (await send('/arrived')).statuses[0] === 200, 40_000)
    for (let round = 0; round < 5; round += 1) expect(await answers()).toEqual(first)
    return `${summarise(first.map(String))}, also in reverse; ${ms.toFixed(1)} ms of CPU a request`
  })
})
