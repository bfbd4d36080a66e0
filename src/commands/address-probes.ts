/**
 * Probes of addresses: certificate files, public names as a browser would reach them, upstreams as the forwarder would.
 *
 * A connection is opened, as far as TLS reaches, and closed. No request is sent.
 */

import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { connect as connectPlain, isIP, type LookupFunction, type Socket } from 'node:net'
import { checkServerIdentity, connect as connectTls } from 'node:tls'
import type { InstanceConfiguration } from '../config/instance.ts'
import { portOf, unbracket } from '../config/web-address.ts'
import { addressForbidden } from '../enforcement/name-lookup.ts'
import { lookupName } from '../name-resolution.ts'
import type { App, Upstream } from '../policy/document.ts'
import { codeOf, type ProbeResult, probeMs, result } from './probe-result.ts'

/** A renewal that has not happened three weeks before the end is late. */
const soonMs = 21 * 86_400_000

/** Dates of a certificate file. */
export async function judgeCertificateFile(file: string, at: number): Promise<readonly ProbeResult[]> {
  const probe = `certificate ${file}`
  try {
    return [judgeDates(probe, new X509Certificate(await readFile(file)), at)]
  } catch (error) {
    return [result(probe, 'problem', `it cannot be read (${codeOf(error)})`)]
  }
}

function judgeDates(probe: string, certificate: X509Certificate, at: number): ProbeResult {
  const from = certificate.validFromDate.getTime()
  const to = certificate.validToDate.getTime()
  const day = new Date(to).toISOString().slice(0, 10)
  if (at < from) return result(probe, 'problem', 'it is not valid yet')
  if (at > to) return result(probe, 'problem', `it expired on ${day}`)
  return to - at < soonMs ? result(probe, 'warning', `it expires on ${day}`) : result(probe, 'good', `valid until ${day}`)
}

/** Whether a public address resolves and answers with a certificate that browsers accept. */
export async function tryPublicName(configuration: InstanceConfiguration, origin: URL, at: number): Promise<ProbeResult> {
  const probe = `address ${origin.origin}`
  const host = unbracket(origin.hostname)
  const port = portOf(origin)
  try {
    if (origin.protocol === 'http:') {
      await connectTo({ host, port, tls: undefined })
      return result(probe, 'good', 'answers')
    }
    const { certificate } = await connectTo({ host, port, tls: { serverName: host, ca: undefined } })
    if (certificate === undefined) return result(probe, 'problem', 'no certificate was shown')
    return judgeDates(probe, certificate, at)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return result(probe, 'problem', 'the name does not resolve', 'add it to DNS')
    if (code !== 'ECONNREFUSED' && code !== 'TIMEOUT' && code !== 'timeout') {
      return result(probe, 'problem', `its certificate does not hold or it does not speak TLS (${code})`, 'browsers will refuse it as well')
    }
    const isCovered = await hasCertificateFor(configuration, host)
    if (isCovered === false) return result(probe, 'problem', 'no certificate in `tls` is for this name')
    return result(probe, 'warning', `the name resolves, but nothing answers (${code})`, 'start Postern and check again')
  }
}

/** `undefined` behind a balancer, where the certificates are not ours. */
async function hasCertificateFor({ tls }: InstanceConfiguration, host: string): Promise<boolean | undefined> {
  if (tls.length === 0) return undefined
  for (const { certFile } of tls) {
    const certificate = new X509Certificate(await readFile(certFile))
    if ((isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined) return true
  }
  return false
}

/** How names of upstreams become addresses, and which connections the forwarder would refuse. */
export interface UpstreamLookup {
  isReachAllowed(host: string, port: number): boolean
  findProblem(host: string, port: number): Error | undefined
  lookupFor(port: number): LookupFunction
}

/** Whether an upstream takes a connection, with TLS as far as it asks for it. Nothing is connected to that the forwarder would not connect to. */
export async function tryUpstream(app: App, upstream: Upstream, lookup: UpstreamLookup): Promise<ProbeResult> {
  const probe = `upstream of ${app.id}`
  const url = new URL(upstream.origin)
  const host = unbracket(url.hostname)
  const port = portOf(url)
  const tls = url.protocol === 'https:' ? { serverName: upstream.serverName ?? host, ca: upstream.ca } : undefined
  try {
    const problem = lookup.findProblem(host, port)
    if (problem !== undefined) throw problem
    if (!lookup.isReachAllowed(host, port)) throw Object.assign(new Error('it is out of reach'), { code: addressForbidden })
    await connectTo({ host, port, tls, lookup: lookup.lookupFor(port) })
    return result(probe, 'good', `${upstream.origin} answers`)
  } catch (error) {
    const code = codeOf(error)
    if (code === addressForbidden) return result(probe, 'problem', `${upstream.origin} is at an address that is never forwarded to`)
    const hint =
      code === 'ENOTFOUND' ? 'the name does not resolve from here' : tls === undefined ? undefined : 'see ca_file and server_name'
    return result(probe, 'problem', `${upstream.origin} cannot be reached (${code})`, hint)
  }
}

interface Destination {
  readonly host: string
  readonly port: number
  readonly tls: { readonly serverName: string; readonly ca: string | undefined } | undefined
  /** As a browser would, if left out. */
  readonly lookup?: LookupFunction
}

/** Opens a connection, as far as TLS reaches, and closes it. Nothing is sent over it. */
function connectTo({ host, lookup = lookupName, port, tls }: Destination): Promise<{ readonly certificate: X509Certificate | undefined }> {
  return new Promise((resolve, reject) => {
    const settle = (socket: Socket, certificate: X509Certificate | undefined) => {
      socket.destroy()
      resolve({ certificate })
    }
    const socket =
      tls === undefined
        ? connectPlain({ host, port, lookup }, () => settle(socket, undefined))
        : connectTls(
            {
              host,
              port,
              lookup,
              ...(isIP(tls.serverName) === 0 ? { servername: tls.serverName } : {}),
              ...(tls.ca === undefined ? {} : { ca: tls.ca }),
              checkServerIdentity: (_host, peer) => checkServerIdentity(tls.serverName, peer),
            },
            function (this: import('node:tls').TLSSocket) {
              settle(this, this.getPeerX509Certificate())
            },
          )
    // Not the socket's own timeout, which begins anew with each byte of a peer that sends one at a time.
    const limit = setTimeout(() => socket.destroy(Object.assign(new Error('took too long'), { code: 'TIMEOUT' })), probeMs)
    socket.on('close', () => clearTimeout(limit))
    socket.on('error', reject)
  })
}
