/** Where a managed policy may lead: by name, by address in every spelling, and by what a name resolves to at the moment of connecting. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadPolicyBeside } from './load-policy.ts'
import { createIssuerReach, createUpstreamReach, isReachAllowed } from './upstream-reach.ts'

const judge = (allow: readonly string[] | undefined, url: string) => {
  const { hostname, port, protocol } = new URL(url)
  return createUpstreamReach(allow).judgeHost(hostname, port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port))
}

describe('without a list', () => {
  it.each([
    'http://localhost:3000',
    'http://LOCALHOST:3000',
    'http://wiki.localhost',
    'http://127.0.0.1',
    'http://127.8.9.10',
    'http://127.1',
    'http://2130706433',
    'http://0x7f.1',
    'http://0177.0.0.1',
    'http://[::1]',
    'http://[0:0:0:0:0:0:0:1]',
    'http://[::ffff:127.0.0.1]',
    'http://[::ffff:7f00:1]',
    'http://[::127.0.0.1]',
    'http://[64:ff9b::127.0.0.1]',
    'http://[2002:7f00:1::]',
  ])('this machine is out of reach as %s', (url) => {
    expect(judge(undefined, url)).toBe('refused')
  })

  it('every other host is within it, and no name that resolves to this machine', () => {
    const reach = createUpstreamReach(undefined)
    expect(judge(undefined, 'http://wiki.internal:3000')).toBe('allowed')
    expect(judge(undefined, 'http://10.0.0.5')).toBe('allowed')
    expect(judge(undefined, 'http://[fd00::5]')).toBe('allowed')
    expect(reach.mayConnect('wiki.internal', 3000, '10.1.2.3')).toBe(true)
    expect(reach.mayConnect('wiki.internal', 3000, 'fd00::5')).toBe(true)
    for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1', 'no address'])
      expect(reach.mayConnect('wiki.internal', 3000, address)).toBe(false)
    // A hosts file may say what it likes.
    expect(reach.mayConnect('localhost', 3000, '10.1.2.3')).toBe(false)
  })
})

describe('with a list', () => {
  const allow = ['wiki.internal', '*.apps.internal', 'board.internal:8080', '10.20.0.0/16', '192.0.2.7:9000', '[fd00::7]:443']

  it.each([
    ['http://wiki.internal:1234', 'allowed'],
    ['http://WIKI.internal', 'allowed'],
    ['http://a.apps.internal', 'allowed'],
    ['http://a.b.apps.internal', 'allowed'],
    ['http://board.internal:8080', 'allowed'],
    ['http://10.20.3.4:1', 'allowed'],
    ['http://192.0.2.7:9000', 'allowed'],
    ['https://[fd00:0::7]', 'allowed'],
    // Not listed, but networks are: judged when it is resolved.
    ['http://apps.internal', 'by_address'],
    ['http://evilapps.internal', 'by_address'],
    ['http://xwiki.internal', 'by_address'],
    ['http://board.internal:8081', 'by_address'],
    ['http://10.21.0.1', 'refused'],
    ['http://192.0.2.7:9001', 'refused'],
    ['https://[fd00::8]', 'refused'],
    ['http://localhost', 'refused'],
    ['http://127.0.0.1', 'refused'],
    ['http://[::ffff:10.20.0.1]', 'allowed'],
    ['http://[::ffff:10.21.0.1]', 'refused'],
  ] as const)('%s is %s', (url, verdict) => {
    expect(judge(allow, url)).toBe(verdict)
  })

  it('a name that no network could ever admit is out of reach at once', () => {
    expect(judge(['wiki.internal'], 'http://other.internal')).toBe('refused')
    expect(judge([], 'http://other.internal')).toBe('refused')
    expect(judge([], 'http://10.0.0.1')).toBe('refused')
  })

  it('a listed name may be at any address but one of this machine', () => {
    const reach = createUpstreamReach(allow)
    expect(reach.mayConnect('wiki.internal', 80, '203.0.113.9')).toBe(true)
    expect(reach.mayConnect('a.apps.internal', 80, '10.99.0.1')).toBe(true)
    expect(reach.mayConnect('wiki.internal', 80, '127.0.0.1')).toBe(false)
    expect(reach.mayConnect('wiki.internal', 80, '::1')).toBe(false)
    expect(reach.mayConnect('board.internal', 8081, '203.0.113.9')).toBe(false)
  })

  it('any other name only at an address of a listed network', () => {
    const reach = createUpstreamReach(allow)
    expect(reach.mayConnect('other.example', 80, '10.20.9.9')).toBe(true)
    expect(reach.mayConnect('other.example', 80, '::ffff:10.20.9.9')).toBe(true)
    expect(reach.mayConnect('other.example', 80, '10.21.9.9')).toBe(false)
    expect(reach.mayConnect('other.example', 9000, '192.0.2.7')).toBe(true)
    expect(reach.mayConnect('other.example', 9001, '192.0.2.7')).toBe(false)
  })

  it('this machine is reached where it is listed: as a name that means nothing else, an address or a network', () => {
    expect(judge(['localhost:3000'], 'http://localhost:3000')).toBe('allowed')
    expect(judge(['localhost:3000'], 'http://localhost:3001')).toBe('refused')
    expect(judge(['localhost:3000'], 'http://127.0.0.1:3000')).toBe('refused')
    expect(judge(['*.localhost'], 'http://wiki.localhost')).toBe('allowed')
    expect(judge(['127.0.0.0/8'], 'http://127.0.0.1')).toBe('allowed')
    expect(judge(['127.0.0.1:3000'], 'http://localhost:3000')).toBe('by_address')
    expect(createUpstreamReach(['localhost:3000']).mayConnect('localhost', 3000, '::1')).toBe(true)
    expect(createUpstreamReach(['127.0.0.0/8', 'wiki.internal']).mayConnect('wiki.internal', 80, '127.0.0.1')).toBe(true)
    expect(createUpstreamReach(['127.0.0.0/8', 'wiki.internal']).mayConnect('wiki.internal', 80, '::1')).toBe(false)
  })

  it('is asked in one question by whoever connects besides the forwarder', () => {
    expect(isReachAllowed(allow, { host: 'other.example', port: 80 })).toBe(true)
    expect(isReachAllowed(allow, { host: 'other.example', port: 80, address: '10.21.0.1' })).toBe(false)
    expect(isReachAllowed(allow, { host: '[fd00::7]', port: 443, address: 'fd00::7' })).toBe(true)
    expect(isReachAllowed(undefined, { host: '[::1]', port: 443 })).toBe(false)
  })
})

describe('the issuer of a service', () => {
  it('is on the internet, or listed; never within without being listed', () => {
    const [open, listed] = [createIssuerReach(undefined), createIssuerReach(['auth.internal', '10.20.0.0/16'])]
    expect(open.judgeHost('auth.example.com', 443)).toBe('allowed')
    expect(open.judgeHost('localhost', 443)).toBe('refused')
    expect(open.judgeHost('127.0.0.1', 443)).toBe('refused')
    expect(listed.judgeHost('auth.example.com', 443)).toBe('by_address')
    expect(listed.judgeHost('10.21.0.1', 443)).toBe('refused')
    expect(listed.judgeHost('203.0.113.9', 443)).toBe('allowed')
    expect(listed.mayConnect('auth.example.com', 443, '203.0.113.9')).toBe(true)
    for (const address of [
      '10.21.0.1',
      '192.168.1.1',
      '127.0.0.1',
      '::1',
      '::ffff:10.21.0.1',
      'fd00::1',
      '169.254.169.254',
      '64:ff9b::a00:1',
    ])
      expect(listed.mayConnect('auth.example.com', 443, address)).toBe(false)
    expect(listed.mayConnect('auth.example.com', 443, '10.20.0.1')).toBe(true)
    expect(listed.mayConnect('auth.internal', 443, '192.168.1.1')).toBe(true)
    expect(open.mayConnect('auth.example.com', 443, '127.0.0.1')).toBe(false)
    expect(open.mayConnect('auth.example.com', 443, '169.254.169.254')).toBe(false)
  })
})

describe('a managed policy', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-reach-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const load = async (upstream: string, managed: { readonly allow: readonly string[] | undefined } | undefined, more = '') => {
    const file = join(folder, 'policy.yaml')
    await writeFile(
      file,
      `apps:\n  - id: wiki\n    url: https://wiki.corp.example\n    upstream: ${upstream}\n    rules: [{ allow: { groups: [staff] } }]\n${more}`,
    )
    return (await loadPolicyBeside(file, { managed }, undefined)).problems.map(({ line, message }) => `${line}: ${message}`)
  }

  it('that leads elsewhere is refused with its line; in files the same upstream is fine', async () => {
    const notHere = '4: a managed policy leads to no service of this machine itself'
    const notListed = '4: a managed policy leads only to where `upstreams.allow` of the instance configuration allows it'
    expect(await load('http://127.0.0.1:3000', { allow: undefined })).toEqual([notHere])
    expect(await load('[http://wiki.internal, http://wiki.localhost]', { allow: undefined })).toEqual([notHere])
    expect(await load('{ url: "http://other.internal" }', { allow: ['wiki.internal'] })).toEqual([notListed])
    expect(await load('http://other.internal', { allow: ['10.0.0.0/8'] })).toEqual([])
    expect(await load('http://wiki.internal', { allow: ['wiki.internal'] })).toEqual([])
    expect(await load('http://127.0.0.1:3000', undefined)).toEqual([])
    const issuer = (address: string, managed: Parameters<typeof load>[1]) =>
      load('http://wiki.internal', managed, `services:\n  ci: { jwt: { issuer: "${address}", audience: a, scopes_all: [s] } }\n`)
    expect(await issuer('https://127.0.0.1', { allow: undefined })).toHaveLength(1)
    expect(await issuer('https://10.0.0.1', { allow: ['wiki.internal'] })).toHaveLength(1)
    expect(await issuer('https://auth.example.com', { allow: ['wiki.internal'] })).toEqual([])
    expect(await issuer('https://127.0.0.1', undefined)).toEqual([])
  })
})
