/**
 * The certificate reader over its files and over what proxies write, without a listener: whose lines count, what is remembered and for how
 * long, and what a change of the files does. Certificates are real; requests are what Node's parser makes of them.
 */

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createDeviceAuthority, type DeviceAuthority, type IssuedCertificate } from '../../e2e/support/device-authority.ts'
import type { Logger } from '../log.ts'
import {
  type CertificateReading,
  type CertificateSettings,
  type ClientCertificates,
  createCertificateReader,
} from './client-certificate.ts'
import { findForwardedLines, parseClientCert, parseForwardedClientCert } from './client-certificate-headers.ts'
import type { AskedConnections } from './presented-certificates.ts'

const day = 86_400_000
let folder: string
let authority: DeviceAuthority
let laptop: IssuedCertificate
let lost: IssuedCertificate
let files = 0
const readers: ClientCertificates[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'postern-certificates-'))
  authority = await createDeviceAuthority()
  laptop = await authority.issue({ commonName: 'laptop-7' })
  lost = await authority.issue({ commonName: 'laptop-8' })
})
afterEach(() => {
  for (const reader of readers.splice(0)) reader.close()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Place {
  readonly reader: ClientCertificates
  readonly asked: AskedConnections
  readonly errors: string[]
  readonly clock: { at: number }
  readonly caFile: string
  readonly crlFile: string
}

async function begin(from: CertificateSettings['from'], { trusts = true, list = authority.list([lost]) } = {}): Promise<Place> {
  files += 1
  const [caFile, crlFile] = [join(folder, `ca-${files}.pem`), join(folder, `crl-${files}.pem`)]
  writeFileSync(caFile, authority.pem)
  writeFileSync(crlFile, await list)
  const errors: string[] = []
  const clock = { at: Date.now() }
  const note = (_facts: unknown, message?: string) => void errors.push(message ?? '')
  const log = { debug() {}, info() {}, warn() {}, error: note, fatal: note, flush() {} } as unknown as Logger
  const isTrustedPeer = () => trusts
  const asked: AskedConnections = new WeakMap()
  const options = { settings: { caFile, crlFile, from }, isTrustedPeer, asked, now: () => clock.at, log }
  const reader = createCertificateReader(options)
  readers.push(reader)
  return { reader, asked, errors, clock, caFile, crlFile }
}

/** A request with these header lines, exactly as they would arrive. */
function requestWith(...lines: string[]): Promise<IncomingMessage> {
  return new Promise((resolve) => {
    const server = createServer((request, response) => {
      resolve(request)
      response.end()
      server.close()
    })
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const socket = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1')
      socket.end(`${['GET / HTTP/1.1', 'Host: payroll.corp.example', 'Connection: close', ...lines].join('\r\n')}\r\n\r\n`, 'latin1')
      socket.on('error', () => undefined).resume()
    })
  })
}

const base64 = ({ der }: { readonly der: Buffer }) => `:${der.toString('base64')}:`
const escaped = ({ cert }: { readonly cert: string }) => encodeURIComponent(cert)

/** `none`, `verified`, or why not. */
function word(reading: CertificateReading | undefined): string | undefined {
  return reading?.state === 'refused' ? reading.why : reading?.state
}

async function wordFor(reader: ClientCertificates, ...lines: string[]): Promise<string | undefined> {
  return word(await reader.read(await requestWith(...lines)))
}

test('when authorities and lists run out is known, of several by the first', async () => {
  const { caFile, crlFile, reader } = await begin('client_cert')
  const { authorities, lists } = reader.validity()
  expect(authorities).toMatchObject({ file: caFile })
  expect(lists).toMatchObject({ file: crlFile })
  for (const { notAfter, notBefore } of [authorities, lists ?? authorities]) {
    expect(notBefore).toBeLessThanOrEqual(Date.now())
    expect(notAfter).toBeGreaterThan(Date.now())
  }
})

describe('Client-Cert', () => {
  test('of a trusted proxy is verified like any other', async () => {
    const { reader } = await begin('client_cert')
    const stranger = await (await createDeviceAuthority()).issue()
    expect(await wordFor(reader, `Client-Cert: ${base64(laptop)}`)).toBe('verified')
    expect(await wordFor(reader, `client-cert:   ${base64(laptop)}  `)).toBe('verified')
    expect(await wordFor(reader, `Client-Cert: ${base64(lost)}`)).toBe('revoked')
    expect(await wordFor(reader, `Client-Cert: ${base64(stranger)}`)).toBe('untrusted')
    expect(await wordFor(reader, `Client-Cert: ${base64(await authority.issue({ notAfter: Date.now() - 5000 }))}`)).toBe('expired')
    expect(await wordFor(reader)).toBe('none')
    expect(reader.isVisible(await requestWith())).toBe(true)
  })

  test('brings its chain along', async () => {
    const { reader } = await begin('client_cert', { list: Promise.all([authority.list([lost])]).then(([own]) => own) })
    const middle = await authority.issueAuthority()
    const below = await middle.issue()
    // The list of the one in between is missing, and that is found out only with the chain.
    expect(await wordFor(reader, `Client-Cert: ${base64(below)}`)).toBe('untrusted')
    expect(await wordFor(reader, `Client-Cert: ${base64(below)}`, `Client-Cert-Chain: ${base64(middle)}`)).toBe('revocation_unknown')
    const lines = [`Client-Cert-Chain: ${base64(middle)}, ${base64(authority)}`]
    expect(await wordFor(reader, `Client-Cert: ${base64(below)}`, ...lines)).toBe('revocation_unknown')
  })

  test('of anybody else says nothing', async () => {
    const { reader } = await begin('client_cert', { trusts: false })
    const request = await requestWith(`Client-Cert: ${base64(laptop)}`, `X-Forwarded-Client-Cert: Cert="${escaped(laptop)}"`)
    expect(word(reader.recall(request))).toBe('none')
    expect(word(await reader.read(request))).toBe('none')
  })

  test('counts in the form that is configured, and never from headers where the listener asks', async () => {
    const both = [`Client-Cert: ${base64(laptop)}`, `X-Forwarded-Client-Cert: Cert="${escaped(lost)}"`]
    expect(await wordFor((await begin('client_cert')).reader, ...both)).toBe('verified')
    expect(await wordFor((await begin('xfcc')).reader, ...both)).toBe('revoked')
    expect(await wordFor((await begin('listener')).reader, ...both)).toBe('none')
  })

  test('that is anything but one byte sequence is refused and never overlooked', async () => {
    const { reader } = await begin('client_cert')
    const right = base64(laptop)
    for (const line of [
      right,
      `${right}, ${right}`,
      `${right};x=1`,
      laptop.der.toString('base64'),
      `${right.slice(0, -1)}`,
      '::',
      '',
      '?1',
      `"${right}"`,
      `:${laptop.der.toString('base64url')}-_:`,
      `:${Buffer.from('x').toString('base64')}:`,
    ])
      expect([line.length, await wordFor(reader, `Client-Cert: ${line}`)]).toEqual([line.length, line === right ? 'verified' : 'malformed'])
    expect(await wordFor(reader, `Client-Cert: ${right}`, `Client-Cert: ${right}`)).toBe('malformed')
    expect(await wordFor(reader, `Client-Cert-Chain: ${right}`)).toBe('malformed')
    expect(await wordFor(reader, `Client-Cert: ${right}`, 'Client-Cert-Chain: x')).toBe('malformed')
    expect(await wordFor(reader, `Client-Cert: ${right}`, `Client-Cert-Chain: ${Array(9).fill(':AAAA:').join(', ')}`)).toBe('malformed')
  })
})

describe('X-Forwarded-Client-Cert', () => {
  const header = (value: string) => `X-Forwarded-Client-Cert: ${value}`

  test('is read as Envoy writes it', async () => {
    const { reader } = await begin('xfcc')
    const written = `By=spiffe://corp/proxy;Hash=${'0'.repeat(64)};Cert="${escaped(laptop)}";Subject="CN=\\"a,b;c\\",O=x";URI=;DNS=laptop-7.corp.example`
    expect(await wordFor(reader, header(written))).toBe('verified')
    expect(await wordFor(reader, header(`Cert=${escaped(laptop)}`))).toBe('verified')
    expect(await wordFor(reader, header(`Cert="${escaped(lost)}"`))).toBe('revoked')
    expect(await wordFor(reader)).toBe('none')
    const middle = await authority.issueAuthority()
    const below = await middle.issue()
    const chain = encodeURIComponent(below.cert + middle.pem)
    expect(await wordFor(reader, header(`Cert="${escaped(below)}";Chain="${chain}"`))).toBe('revocation_unknown')
    expect(await wordFor(reader, header(`Cert="${escaped(below)}"`))).toBe('untrusted')
  })

  test('counts by its last element, whatever a client wrote before it, in one line or in two', async () => {
    const { reader } = await begin('xfcc')
    const [mine, theirs] = [`Cert="${escaped(laptop)}"`, `Cert="${escaped(lost)}"`]
    expect(await wordFor(reader, header(`${mine},${theirs}`))).toBe('revoked')
    expect(await wordFor(reader, header(`${theirs},${mine}`))).toBe('verified')
    expect(await wordFor(reader, header(mine), header(theirs))).toBe('revoked')
    // A quote that is left open would swallow what the proxy adds.
    expect(await wordFor(reader, header(`${mine};Subject="x,${theirs}`))).toBe('malformed')
    expect(await wordFor(reader, header(`${mine};Subject="x`), header(theirs))).not.toBe('verified')
    // A hash proves nothing: anybody may know it.
    expect(await wordFor(reader, header(`${mine},Hash=${'0'.repeat(64)}`))).toBe('malformed')
    for (const broken of [
      `${mine};${mine}`,
      'Cert=',
      'Cert="%zz"',
      '=x',
      'x',
      `Cert="${escaped(laptop)}${escaped(lost)}"`,
      `Cert="x${escaped(laptop)}"`,
      '',
    ])
      expect([broken.slice(0, 9), await wordFor(reader, header(broken))]).toEqual([broken.slice(0, 9), 'malformed'])
  })

  test('of whatever text is refused and never an exception', () => {
    const text = fc.string({ unit: 'grapheme-ascii', maxLength: 80 })
    const pieces = fc.array(fc.oneof(text, fc.constantFrom('"', '\\', ',', ';', '=', 'Cert=', 'Cert="', '%', '%2')), { maxLength: 12 })
    fc.assert(
      fc.property(pieces, (parts) => {
        const lines = { certificate: [parts.join('')], chain: [parts.join(',')] }
        expect(parseForwardedClientCert(lines)).toBe('malformed')
        expect(parseClientCert(lines)).toBe('malformed')
        expect(findForwardedLines(['CLIENT-CERT', parts.join('')], 'client_cert').certificate).toHaveLength(1)
      }),
      { numRuns: 3000 },
    )
  })
})

test('a certificate of our own listener is visible under the name that it was asked for, and under no other', async () => {
  const { reader, asked } = await begin('listener')
  const request = await requestWith()
  expect(reader.isVisible(request)).toBe(false)
  for (const [name, isVisible] of [
    ['payroll.corp.example', true],
    ['wiki.corp.example', false],
    ['corp.example', false],
  ] as const) {
    asked.set(request.socket, { name, presented: [] })
    expect([name, reader.isVisible(request)]).toEqual([name, isVisible])
  }
  asked.set(request.socket, { name: 'payroll.corp.example', presented: [] })
  for (const host of ['payroll.corp.example:8443', 'PAYROLL.corp.example.', 'payroll.corp.example.:443']) {
    request.headers.host = host
    expect([host, reader.isVisible(request)]).toEqual([host, true])
  }
})

describe('what is remembered', () => {
  test('answers at once, until the files change', async () => {
    const { reader, crlFile } = await begin('client_cert')
    const line = `Client-Cert: ${base64(laptop)}`
    expect(reader.recall(await requestWith(line))).toBeUndefined()
    expect(await wordFor(reader, line)).toBe('verified')
    expect(word(reader.recall(await requestWith(line)))).toBe('verified')
    writeFileSync(crlFile, await authority.list([laptop], { thisUpdate: Date.now() }))
    expect(reader.reload()).toBe(true)
    expect(reader.recall(await requestWith(line))).toBeUndefined()
    expect(await wordFor(reader, line)).toBe('revoked')
    expect(word(reader.recall(await requestWith(line)))).toBe('revoked')
  })

  test('ends with the certificate and with the list', async () => {
    const { reader, clock } = await begin('client_cert', { list: authority.list([], { nextUpdate: Date.now() + 2 * day }) })
    const short = `Client-Cert: ${base64(await authority.issue({ notAfter: Date.now() + day }))}`
    const long = `Client-Cert: ${base64(laptop)}`
    expect([await wordFor(reader, short), await wordFor(reader, long)]).toEqual(['verified', 'verified'])
    clock.at += day + 2000
    expect(reader.recall(await requestWith(short))).toBeUndefined()
    expect([await wordFor(reader, short), await wordFor(reader, long)]).toEqual(['expired', 'verified'])
    clock.at += day
    expect(reader.recall(await requestWith(long))).toBeUndefined()
    expect(await wordFor(reader, long)).toBe('revocation_unknown')
  })

  test('is bounded, and a stranger’s nonsense never makes it wrong', async () => {
    const { reader } = await begin('client_cert')
    const right = await requestWith(`Client-Cert: ${base64(laptop)}`)
    const nonsense = await requestWith('Client-Cert: :AAAA:')
    for (let round = 0; round < 5000; round += 1) {
      nonsense.rawHeaders[nonsense.rawHeaders.indexOf('Client-Cert') + 1] = `:${Buffer.from(`${round}`).toString('base64')}:`
      await reader.read(nonsense)
    }
    expect(word(await reader.read(right))).toBe('verified')
  })
})

describe('the files', () => {
  test('that cannot be used keep an instance from starting, and say why', async () => {
    const other = await createDeviceAuthority({ commonName: 'Other' })
    const impostor = await createDeviceAuthority()
    const [ca, list] = [authority.pem, await authority.list([])]
    const cases: [what: RegExp, ca: string, crl: string][] = [
      [/no certificate in it/, '', list],
      [/is not an authority/, laptop.cert, list],
      [/a PRIVATE KEY in it/, ca + laptop.key, list],
      [/cut off/, ca.slice(0, 200), list],
      [/no revocation list/, ca, ''],
      [/did not sign/, ca, await impostor.list([])],
      [/key that is too weak/, (await createDeviceAuthority({ algorithm: 'RSA-1024' })).pem, list],
      [/malformed/, ca, list.replace(/\n[A-Za-z0-9+/=]{64}\n/, '\n')],
    ]
    for (const [what, caText, crlText] of cases) {
      const [caFile, crlFile] = [join(folder, 'case-ca.pem'), join(folder, 'case-crl.pem')]
      writeFileSync(caFile, caText)
      writeFileSync(crlFile, crlText)
      const log = { info() {}, error() {} } as unknown as Logger
      const settings = { caFile, crlFile, from: 'xfcc' } as const
      const create = () =>
        createCertificateReader({ settings, isTrustedPeer: () => true, asked: new WeakMap(), now: () => Date.now(), log })
      expect(create).toThrow(what)
      expect(create).toThrow(expect.objectContaining({ code: 'configuration_invalid' }))
    }
    expect(other.pem).not.toBe(ca)
  })

  test('that become unusable stay as they were, with one complaint each', async () => {
    const { reader, errors, crlFile, caFile } = await begin('client_cert')
    const line = `Client-Cert: ${base64(laptop)}`
    const impostor = await createDeviceAuthority()
    const broken = [
      '',
      '-----BEGIN X509 CRL-----\nAAAA',
      await impostor.list([]),
      await authority.list([], { thisUpdate: Date.now() - day }),
      await authority.list([], { nextUpdate: undefined }),
    ]
    for (const [index, text] of broken.entries()) {
      writeFileSync(crlFile, text)
      for (let look = 0; look < 3; look += 1) expect(reader.reload()).toBe(false)
      expect(errors).toHaveLength(index + 1)
      expect(await wordFor(reader, line)).toBe('verified')
      expect(await wordFor(reader, `Client-Cert: ${base64(lost)}`)).toBe('revoked')
    }
    rmSync(crlFile)
    expect([reader.reload(), reader.reload()]).toEqual([false, false])
    writeFileSync(caFile, 'nonsense')
    expect(reader.reload()).toBe(false)
    writeFileSync(caFile, authority.pem)
    writeFileSync(crlFile, await authority.list([], { thisUpdate: Date.now() }))
    expect(reader.reload()).toBe(true)
    expect(await wordFor(reader, `Client-Cert: ${base64(lost)}`)).toBe('verified')
  })

  test('are looked at by themselves, also when they are swapped as a whole', async () => {
    const { reader, crlFile } = await begin('client_cert')
    const line = `Client-Cert: ${base64(laptop)}`
    expect(await wordFor(reader, line)).toBe('verified')
    writeFileSync(`${crlFile}.new`, await authority.list([laptop], { thisUpdate: Date.now() }))
    renameSync(`${crlFile}.new`, crlFile)
    await expect.poll(() => wordFor(reader, line), { timeout: 6_000 }).toBe('revoked')
  })

  test('with another authority change whom devices are asked for, and whom we believe', async () => {
    const { reader, caFile, crlFile } = await begin('client_cert')
    const next = await createDeviceAuthority({ commonName: 'Devices of Corp, 2nd' })
    const before = reader.authorities()
    writeFileSync(caFile, next.pem)
    writeFileSync(crlFile, await next.list([]))
    expect(reader.reload()).toBe(true)
    expect(reader.authorities()).not.toBe(before)
    expect(await wordFor(reader, `Client-Cert: ${base64(laptop)}`)).toBe('untrusted')
    expect(await wordFor(reader, `Client-Cert: ${base64(await next.issue())}`)).toBe('verified')
  })

  test('with a list that ran out are complained about loudly, once', async () => {
    const { reader, errors, clock } = await begin('client_cert', { list: authority.list([], { nextUpdate: Date.now() + day }) })
    expect(errors).toEqual([])
    clock.at += 2 * day
    for (let look = 0; look < 3; look += 1) reader.reload()
    expect(errors).toEqual([expect.stringContaining('out of date')])
  })
})
