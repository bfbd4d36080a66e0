/**
 * What a policy document may hold: patterns that take for ever, values that mean something else than they look like, and too many rules.
 *
 * Safe: refused when it is loaded, with the line, and never read as "everything"; or accepted and bounded for whatever a stranger sends.
 * Work is measured as CPU time of the instance, which other processes of the machine do not change.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest'
import { Client } from '../support/client.ts'
import { readCpuMs } from '../support/process-facts.ts'
import { type Rig, runCommand, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig, mustBeAlive, sendLine, signedInCookie, summarise } from './attack.ts'

interface Problem {
  readonly file: string
  readonly line: number
  readonly message: string
}

interface Checked {
  readonly code: number | null
  readonly problems: readonly Problem[]
  readonly warnings: readonly Problem[]
}

describe('policy documents that should not be', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-check-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  /** `postern check` on these lines of policy, with further keys of the instance configuration. */
  async function check(lines: readonly string[], more: readonly string[] = []): Promise<Checked> {
    const config = join(folder, 'postern.yaml')
    const instance = [
      'url: https://access.corp.example',
      'session: { store: embedded }',
      'provider: { issuer: "https://login.corp.example", client_id: x, client_secret: 0123456789abcdef0123456789abcdef }',
      ...more,
    ]
    await writeFile(config, `${instance.join('\n')}\n`, { mode: 0o600 })
    await writeFile(join(folder, 'policy.yaml'), `${lines.join('\n')}\n`)
    const { code, stdout, stderr } = await runCommand(['check', '--json', '--config', config])
    expect(stderr).not.toMatch(/\n\s+at /)
    return { code, ...(JSON.parse(stdout) as Omit<Checked, 'code'>) }
  }

  const start = ['apps:', '- id: app', '  url: https://app.corp.example', '  upstream: http://app.internal:3000', '  rules:']

  /** Each rule on a line of its own. Resolves to the rules that nothing was said about. */
  async function accepted(rules: readonly string[]): Promise<readonly string[]> {
    const { code, problems } = await check([...start, ...rules.map((rule, index) => `  - { name: "r${index}", ${rule} }`)])
    expect(code).toBe(problems.length === 0 ? 0 : 1)
    for (const { file, line } of problems) {
      expect(file).toMatch(/policy\.yaml$/)
      expect(line).toBeGreaterThan(start.length)
    }
    const lines = new Set(problems.map(({ line }) => line))
    return rules.filter((_rule, index) => !lines.has(start.length + 1 + index))
  }

  const all = 'allow: { signed_in: true }'
  const when = (condition: string) => `${all}, when: [{ ${condition} }]`
  const quoted = (values: readonly string[], make: (value: string) => string) => values.map((value) => make(JSON.stringify(value)))

  attack('A238', 'POL', 'networks, globs, hosts, hours and names that mean something else than they look like', async () => {
    const blocks = {
      networks: [
        '10.0.0.0/33',
        '::/0 ',
        ' ::/0',
        '::/0',
        '0.0.0.0/0',
        '0.0.0.0/00',
        '10.0.0.5/24',
        '010.0.0.1',
        '010.0.0.0/8',
        '10.0.0.0/08',
        '10.0.0.0/+8',
        '10.0.0.0/-1',
        '10.0.0.0/8/8',
        '10.0.0/8',
        '10/8',
        '0x0a.0.0.0/8',
        '167772160',
        '10.0.0.0/255.0.0.0',
        '10.0.0.0/8.0',
        '::ffff:10.0.0.0/104',
        'fe80::1%eth0',
        'fe80::%eth0/64',
        '::1/129',
        '2001:db8::/32/',
        '10.0.0.0-10.0.0.9',
        '*',
        '**',
        '*.*',
        '10.*.*.*',
        '10.0.0.0/8, 11.0.0.0/8',
        '10.0.0.0/8 ',
        '10.0.0.0/8\t',
        '\u00a010.0.0.0/8',
        '',
        '/',
        '/0',
        '/8',
        'all',
        'any',
        'localhost',
        '\uff11\uff10.0.0.0/8',
        '10.0.0.0\\8',
        '10.0.0.0%2F8',
        '!10.0.0.0/8',
        '256.0.0.0/8',
        '2001:db9::/31',
        '[::1]',
        '::g/64',
        'true',
        'null',
      ],
      paths: [
        '**',
        '*',
        '*.*',
        '/**/x',
        '/x**',
        '/**x',
        '/a/**/b',
        '',
        'x',
        '/x?y',
        '/x#y',
        '/\\x',
        '/./x',
        '/../x',
        '/%2e%2e/x',
        '/%2E%2E/x',
        '//x',
        '/x//',
        '/x y',
        '/%zz',
        '/%2f',
        '/%41',
        '/\u00e9',
        '/**/**',
        '/x\t',
        '/[a]',
        '/{a}',
      ].filter((path) => path !== '/[a]'),
      domains: [
        '*',
        '**',
        '*.*',
        '.',
        '.corp.example',
        '@corp.example',
        'corp',
        'corp..example',
        'corp.example.',
        'corp.example/',
        '*.corp.example',
        'corp.*',
        'corp.example corp.test',
        '-corp.example',
        'https://corp.example',
        '',
      ],
      users: [
        '*',
        '*@corp.example',
        'a@*',
        'a@b@corp.example',
        '@corp.example',
        'a@',
        'a',
        'a@corp.example,b@corp.example',
        'a @corp.example',
        '"a"@corp.example',
        'a@corp',
        'a@corp.example.',
        '<a@corp.example>',
        '',
      ],
      methods: ['*', '**', 'get', 'ALL', 'GET,POST', 'GET POST', '', 'TRACE', 'CONNECT', 'any', 'Read', 'GET '].filter(
        (method) => method !== 'ALL',
      ),
      countries: ['*', '**', 'EU', 'de', 'DEU', 'ZZ', 'UK', 'Germany', '', 'D', 'true', '\u0414\u0415'],
      asns: ['*', 'AS0', '0', '64512-64520', 'AS-1', 'AS4294967296', 'AS01', '', '1.5'],
      hours: [
        '*',
        '24:00-01:00',
        '25:00-26:00',
        '09:00-09:00',
        '9-17',
        '00:00-00:00',
        '09:60-10:00',
        '22:00-24:01',
        '-',
        '09:00-17:00 ',
        '24:00-24:00',
        '09:00',
        '09:00-',
        '09:00-17:00,18:00-19:00',
        '+9:00-17:00',
        '',
      ],
      days: ['*', '**', 'monday', 'mon-', '-fri', '8', 'mon-fri-sun', 'Mon', 'mon,tue', ''],
      dates: [
        '*',
        '2027-02-29',
        '2026-02-30',
        '2026-13-01',
        '2026-00-10',
        '2026-1-1',
        '0000-00-00',
        '2026-11-31',
        '2026-11-22T00:00',
        '20261122',
        '',
      ],
      zones: ['*', 'Europe/Nowhere', '../../etc/passwd', 'GMT+25', '+25:00', 'CEST5', ''],
      systems: ['*', '**', 'macos >= *', 'macos >= 14..4', 'macos >=', '>= 14', 'macos => 14', 'macos >= 14 <= 15', 'macos ~ 14', ''],
      versions: ['*', '120', '>= *', '>=', '>= 1.2.3.4.5', '>= -1', '>= 1e3', '!= 120', ''],
    } as const
    const forms: Readonly<Record<keyof typeof blocks, (value: string) => string>> = {
      networks: (value) => when(`network: { cidrs: [${value}] }`),
      paths: (value) => `${all}, paths: [${value}]`,
      domains: (value) => `allow: { domains: [${value}] }`,
      users: (value) => `allow: { users: [${value}] }`,
      methods: (value) => `${all}, methods: [${value}]`,
      countries: (value) => when(`network: { countries: [${value}] }`),
      asns: (value) => when(`network: { asns: [${value}] }`),
      hours: (value) => when(`time: { between: ${value} }`),
      days: (value) => when(`time: { days: [${value}] }`),
      dates: (value) => `${all}, from: ${value}`,
      zones: (value) => when(`time: { days: [mon], zone: ${value} }`),
      systems: (value) => when(`device: { os: [${value}] }`),
      versions: (value) => when(`client: { browser_version: ${value} }`),
    }
    const rules = (Object.keys(blocks) as (keyof typeof blocks)[]).flatMap((block) => quoted(blocks[block], forms[block]))
    // Among them one that is right, so that not every line is refused for its neighbours.
    const right = [
      when('network: { cidrs: ["10.0.0.0/8", "fd00::/8"] }'),
      `${all}, paths: ["/x/**", "/y/*.png"]`,
      'allow: { domains: [corp.example] }',
    ]
    expect(await accepted([...rules, ...right])).toEqual(right)
    return `${rules.length} values refused, each with its line`
  })

  attack('A238b', 'POL', 'networks that are nearly right, by the hundred', async () => {
    const [good, bad] = [new Set<string>(), new Set<string>()]
    let seed = 20_261_122
    const next = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
      return Math.floor((seed / 0x80000000) * below)
    }
    while (good.size + bad.size < 600) {
      const length = next(5) === 0 ? next(40) : 1 + next(32)
      const bits = BigInt(next(65_536) * 65_536 + next(65_536))
      const shift = BigInt(Math.max(0, 32 - length))
      const network = next(3) === 0 ? bits : (bits >> shift) << shift
      const octets = [24n, 16n, 8n, 0n].map((at) => String((network >> at) & 255n))
      // One octet in some is written in another way: with a zero in front, too large, empty, signed, hexadecimal.
      const odd = next(12)
      if (odd < 6) octets[next(4)] = ['00', '08', '256', '', '-1', '0x1'][odd] ?? ''
      const text = `${octets.join('.')}/${next(15) === 0 ? `0${length}` : length}`
      const isNetwork = odd >= 6 && length >= 1 && length <= 32 && text.endsWith(`/${length}`) && network === (network >> shift) << shift
      ;(isNetwork ? good : bad).add(text)
    }
    const texts = [...good, ...bad]
    const rules = quoted(texts, (value) => when(`network: { cidrs: [${value}] }`))
    const kept = new Set(await accepted(rules))
    expect(texts.filter((_text, index) => kept.has(rules[index] ?? ''))).toEqual([...good])
    // The same in a list of networks, and for proxies that are believed.
    await writeFile(join(folder, 'networks.txt'), `${texts.slice(-15).join('\n')}\n`)
    const listed = await check([...start, `  - { name: a, ${when('network: { cidrs_file: networks.txt }')} }`])
    expect(listed.problems.filter(({ file }) => file.endsWith('networks.txt')).map(({ line }) => line)).toEqual(
      texts.slice(-15).map((_text, index) => index + 1),
    )
    const proxies = await check(
      [...start, `  - { name: a, ${all} }`],
      ['trusted_proxies:', ...texts.map((text) => `- ${JSON.stringify(text)}`)],
    )
    expect(new Set(proxies.problems.filter(({ file }) => file.endsWith('postern.yaml')).map(({ line }) => line - 5)).size).toBe(bad.size)
    return `${good.size} accepted, ${bad.size} refused, in a rule, in a file and for proxies`
  })

  attack('A238c', 'POL', 'public hosts that are no single host', async () => {
    const urls = [
      'http://*.corp.example',
      'https://*',
      'https://**',
      'https://*.*',
      'https://corp.example:*',
      'https://corp.example:99999',
      'https://corp.example:',
      'https://[::1',
      'https://010.0.0.1',
      'https://0x7f.1',
      'https://127.1',
      'https:corp.example',
      'https://corp.example\\@evil.example',
      'https://a@corp.example',
      '//corp.example',
      'https://corp.example/..',
      'https://corp.example/%2e%2e',
      'https://corp.example?x',
      'https://corp.example#x',
      'https://corp.example.',
      'https://corp example',
      'https://.example',
      'https://corp..example',
      'javascript:alert(1)',
      'ws://corp.example',
      '',
    ]
    const lines = [
      'apps:',
      ...urls.map(
        (url, index) =>
          `- { id: "a${index}", url: ${JSON.stringify(url)}, upstream: "http://app.internal:3000", rules: [{ name: x, ${all} }] }`,
      ),
    ]
    const { code, problems } = await check(lines)
    expect(code).toBe(1)
    const refused = new Set(problems.map(({ line }) => line))
    expect(urls.filter((_url, index) => !refused.has(index + 2))).toEqual([])
    return `${urls.length} refused, each with its line`
  })

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
    const rule = (pattern: string) => when(`expression: ${JSON.stringify(`re(request.path, ${JSON.stringify(pattern)})`)}`)
    const others = [
      when(`expression: ${JSON.stringify('request.path.matches("^a$")')}`),
      when(`expression: ${JSON.stringify('re(request.path, request.method)')}`),
      when(`expression: ${JSON.stringify('re(request.path, "a" + "b")')}`),
      when(`expression: ${JSON.stringify(`${'('.repeat(9)}true${')'.repeat(8)}`)}`),
      when(`expression: ${JSON.stringify('subject.groups.exists(a, subject.groups.exists(b, subject.groups.exists(c, a + b == c)))')}`),
      when(`expression: ${JSON.stringify(`${'!'.repeat(900)}true`)}`),
      when(`expression: ${JSON.stringify(`${'('.repeat(450)}true${')'.repeat(450)}`)}`),
    ]
    const kept = await accepted([...patterns.refused.map(rule), ...patterns.accepted.map(rule), ...others])
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
    const { code, problems } = await check([...start, ...twice.map((rule) => `  - { ${rule} }`)])
    expect(code).toBe(1)
    expect(problems.map(({ line }) => line)).toContain(start.length + 2)
    const rules = [...many, ...shadowed].map((rule, index) => `  - { name: "r${index}", ${rule} }`)
    const checked = await check([...start, ...rules])
    expect(checked.code).toBe(0)
    expect(checked.warnings.find(({ line }) => line === start.length + many.length + 1)?.message).toMatch(/never lets anybody in/)
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
    return `${Object.keys(payloads).length} payloads, at most ${worst.ms.toFixed(0)} ms of CPU (${worst.what}); a plain refusal ${plain.toFixed(0)} ms`
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
    await waitFor(async () => (await send('/arrived')).statuses[0] === 200)
    for (let round = 0; round < 5; round += 1) expect(await answers()).toEqual(first)
    return `${summarise(first.map(String))}, also in reverse; ${ms.toFixed(1)} ms of CPU a request`
  })
})
