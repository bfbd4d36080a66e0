/** Where connections on behalf of a policy go: never to what is ours, whoever wrote it, nor to this machine where nobody allowed it. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { describe, expect, it } from 'vitest'
import { tryUpstream } from './commands/address-probes.ts'
import { createUpstreamLookup, findIssuerReach, findReach, type ReachConfiguration } from './compose-reach.ts'
import { isForbiddenUpstream } from './config/web-address.ts'
import { addressForbidden } from './enforcement/name-lookup.ts'
import { createProviderFetch } from './oidc/provider-fetch.ts'
import type { App, Upstream } from './policy/document.ts'

const files: ReachConfiguration = {
  httpRedirect: undefined,
  listen: { host: '0.0.0.0', port: 8443 },
  operations: { host: '127.0.0.1', port: 9464 },
  policyMode: 'files',
  session: { store: { kind: 'embedded' } } as ReachConfiguration['session'],
  upstreamsAllow: undefined,
  url: new URL('https://access.corp.example'),
}
const managed: ReachConfiguration = { ...files, policyMode: 'managed' }

/** What another machine could connect to; at least loopback is left out. */
const own = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .filter(({ address, internal }) => !internal && !isForbiddenUpstream(address))
  .map(({ address }) => address)

async function serve() {
  const seen: string[] = []
  const server = createServer((request, response) => {
    seen.push(request.url ?? '')
    response.end('{"keys":[]}')
  })
  server.on('connection', () => seen.push('connection'))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return { port, seen, close: () => server.close() }
}

describe('a managed policy without a list', () => {
  it('leads to no address of this machine, as an address or as what a name comes to', () => {
    const mayConnect = findReach(managed) ?? expect.fail()
    for (const address of own) {
      expect(mayConnect('wiki.internal', 3000, address)).toBe(false)
      expect(mayConnect(address, 3000, address)).toBe(false)
      expect(createUpstreamLookup(managed).findProblem(address, 3000)).toMatchObject({ code: addressForbidden })
      expect(findIssuerReach(managed)('id.corp.example', 443, address)).toBe(false)
      if (!address.includes(':')) expect(mayConnect('wiki.internal', 3000, `::ffff:${address}`)).toBe(false)
    }
    expect(mayConnect('wiki.internal', 3000, '198.51.100.7')).toBe(true)
  })

  it('leads there where it is listed, and with files wherever they say', () => {
    for (const address of own) {
      const written = address.includes(':') ? `[${address}]:3000` : `${address}:3000`
      const listed = findReach({ ...managed, upstreamsAllow: [written] }) ?? expect.fail()
      expect(listed(address, 3000, address)).toBe(true)
      expect(listed(address, 3001, address)).toBe(false)
      expect(createUpstreamLookup(files).findProblem(address, 3000)).toBeUndefined()
    }
    expect(findReach(files)).toBeUndefined()
  })
})

describe('what is ours', () => {
  it('is nobody’s upstream: operations, store, access host, and a listener by any address of this machine', () => {
    const session = { store: { kind: 'redis', url: { reveal: () => 'redis://10.0.0.9:6379' } } } as unknown as ReachConfiguration['session']
    const lookup = createUpstreamLookup({ ...files, session, httpRedirect: { host: '::', port: 8080 } })
    for (const [host, port] of [
      ['127.0.0.1', 9464],
      ['10.0.0.9', 6379],
      ['access.corp.example', 443],
      ['127.0.0.1', 8443],
      ['127.0.0.1', 8080],
      ...own.flatMap((address) => [[address, 8443] as const, [address, 8080] as const]),
    ] as const)
      expect(lookup.findProblem(host, port)).toMatchObject({ code: addressForbidden })
    expect(lookup.findProblem('127.0.0.1', 3000)).toBeUndefined()
    expect(lookup.findProblem('wiki.corp.example', 443)).toBeUndefined()
  })

  it('is asked for no keys of an issuer, also where files say so', async () => {
    const { port, seen, close } = await serve()
    const inner = (mode: ReachConfiguration) => createProviderFetch(2, findIssuerReach({ ...mode, operations: { host: '0.0.0.0', port } }))
    const request = { method: 'GET', headers: {} }
    try {
      for (const mode of [files, { ...managed, upstreamsAllow: ['127.0.0.0/8', 'localhost'] }]) {
        for (const host of ['127.0.0.1', 'ops.localhost'])
          await expect(inner(mode).fetch(`http://${host}:${port}/keys`, request)).rejects.toMatchObject({ code: 'provider_unavailable' })
        expect(findIssuerReach(mode)('id.corp.example', 443, '169.254.169.254')).toBe(false)
      }
      expect(seen).toEqual([])
      const allowed = createProviderFetch(2, findIssuerReach(files))
      expect((await allowed.fetch(`http://127.0.0.1:${port}/keys`, request)).status).toBe(200)
    } finally {
      close()
    }
  })

  it('gets no connection from the look whether an upstream answers, nor does what is out of reach', async () => {
    const { port, seen, close } = await serve()
    const look = (configuration: ReachConfiguration, host = '127.0.0.1') =>
      tryUpstream({ id: 'wiki' } as App, { origin: `http://${host}:${port}` } as Upstream, createUpstreamLookup(configuration))
    const refused = { outcome: 'problem', message: expect.stringContaining('never forwarded to') }
    try {
      for (const host of ['127.0.0.1', 'ops.localhost']) {
        expect(await look({ ...files, operations: { host: '0.0.0.0', port } }, host)).toMatchObject(refused)
        expect(await look(managed, host)).toMatchObject(refused)
      }
      expect(seen).toEqual([])
      expect(await look(files)).toMatchObject({ outcome: 'good' })
      await expect.poll(() => seen).toEqual(['connection'])
    } finally {
      close()
    }
  })
})
