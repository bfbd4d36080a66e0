/**
 * Values in a policy document that mean something else than they look like: networks, globs, hosts, hours, days, addresses, versions.
 *
 * Safe: refused when the document is loaded, with the line, and never read as "everything". What is right beside them is not refused.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { allowAll, allowWhen, appLines, eachQuoted, instanceLines, type PolicyCheck, startPolicyCheck } from '../support/policy-check.ts'
import { attack } from './attack.ts'

describe('values in policy documents', () => {
  let documents: PolicyCheck
  beforeAll(async () => {
    documents = await startPolicyCheck()
  })
  afterAll(() => documents.remove())

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
      networks: (value) => allowWhen(`network: { cidrs: [${value}] }`),
      paths: (value) => `${allowAll}, paths: [${value}]`,
      domains: (value) => `allow: { domains: [${value}] }`,
      users: (value) => `allow: { users: [${value}] }`,
      methods: (value) => `${allowAll}, methods: [${value}]`,
      countries: (value) => allowWhen(`network: { countries: [${value}] }`),
      asns: (value) => allowWhen(`network: { asns: [${value}] }`),
      hours: (value) => allowWhen(`time: { between: ${value} }`),
      days: (value) => allowWhen(`time: { days: [${value}] }`),
      dates: (value) => `${allowAll}, from: ${value}`,
      zones: (value) => allowWhen(`time: { days: [mon], zone: ${value} }`),
      systems: (value) => allowWhen(`device: { os: [${value}] }`),
      versions: (value) => allowWhen(`client: { browser_version: ${value} }`),
    }
    const rules = (Object.keys(blocks) as (keyof typeof blocks)[]).flatMap((block) => eachQuoted(blocks[block], forms[block]))
    // Among them one that is right, so that not every line is refused for its neighbours.
    const right = [
      allowWhen('network: { cidrs: ["10.0.0.0/8", "fd00::/8"] }'),
      `${allowAll}, paths: ["/x/**", "/y/*.png"]`,
      'allow: { domains: [corp.example] }',
    ]
    expect(await documents.accepted([...rules, ...right])).toEqual(right)
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
    const rules = eachQuoted(texts, (value) => allowWhen(`network: { cidrs: [${value}] }`))
    const kept = new Set(await documents.accepted(rules))
    expect(texts.filter((_text, index) => kept.has(rules[index] ?? ''))).toEqual([...good])
    // The same in a list of networks, and for proxies that are believed.
    await writeFile(join(documents.folder, 'networks.txt'), `${texts.slice(-15).join('\n')}\n`)
    const listed = await documents.check([...appLines, `  - { name: a, ${allowWhen('network: { cidrs_file: networks.txt }')} }`])
    expect(listed.problems.filter(({ file }) => file.endsWith('networks.txt')).map(({ line }) => line)).toEqual(
      texts.slice(-15).map((_text, index) => index + 1),
    )
    const proxies = await documents.check(
      [...appLines, `  - { name: a, ${allowAll} }`],
      ['trusted_proxies:', ...texts.map((text) => `- ${JSON.stringify(text)}`)],
    )
    const refused = proxies.problems.filter(({ file }) => file.endsWith('postern.yaml')).map(({ line }) => line)
    // Below `trusted_proxies:`, the right ones first.
    expect([Math.min(...refused), new Set(refused).size]).toEqual([instanceLines.length + 2 + good.size, bad.size])
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
          `- { id: "a${index}", url: ${JSON.stringify(url)}, upstream: "http://app.internal:3000", rules: [{ name: x, ${allowAll} }] }`,
      ),
    ]
    const { code, problems } = await documents.check(lines)
    expect(code).toBe(1)
    const refused = new Set(problems.map(({ line }) => line))
    expect(urls.filter((_url, index) => !refused.has(index + 2))).toEqual([])
    return `${urls.length} refused, each with its line`
  })
})
