/**
 * The composed system with one person, device, place and browser for each outcome that a condition can have: somebody whom it fits,
 * somebody whom it does not, and somebody about whom nobody says anything. All facts come the way they always come: from the provider,
 * from reports into the inventory, from databases of places, and from the request.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asnRecord, countryRecord, writePlaceDatabase } from '../../src/attributes/place-database.fixture.ts'
import { createSigningKey, mint, startIssuer } from '../../src/attributes/service-issuer.fixture.ts'
import { endRig, mustBeAlive, sendLine } from '../attacks/attack.ts'
import { Client } from './client.ts'
import { type HostileProvider, type Person, startHostileProvider } from './hostile-provider.ts'
import type { RawAnswer } from './raw.ts'
import { type AppWish, type Rig, runCommand, startRig } from './rig.ts'

/** Who asks, on what, from where and with which browser. */
export interface Asker {
  /** A name of `cast`, `nobody`, or `service`. */
  readonly as: Name | 'nobody' | 'service'
  readonly address?: string
  readonly userAgent?: string
}

type Name = keyof typeof cast

const addresses = { there: '198.51.100.7', elsewhere: '203.0.113.9', uncharted: '192.0.2.1' }
export const userAgents = {
  wanted: 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
  other: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0.4430.93 Safari/537.36',
}

/** One of each kind. `fits` is what the conditions of these tests ask for, `differs` is not, of `silent` nothing is said. */
export const fits: Asker = { as: 'fits', address: addresses.there, userAgent: userAgents.wanted }
export const differs: Asker = { as: 'differs', address: addresses.elsewhere, userAgent: userAgents.other }
export const silent: Asker = { as: 'silent', address: addresses.uncharted }
/** Known as a person, on nothing that has a name. */
export const deviceless: Asker = { as: 'deviceless' }
/** On a device that reported what is wanted, two days ago. */
export const outdated: Asker = { as: 'outdated' }
export const nobody: Asker = { as: 'nobody' }
export const service: Asker = { as: 'service' }

const nowSeconds = () => Math.floor(Date.now() / 1000)

const cast = {
  fits: (): Person => ({
    sub: 'fits',
    acr: '2',
    amr: ['otp'],
    authTime: nowSeconds(),
    claims: { email: 'fits@corp.test', email_verified: true, groups: ['wanted'], department: 'wanted', device_id: 'good' },
  }),
  differs: (): Person => ({
    sub: 'differs',
    acr: '1',
    amr: ['pwd'],
    authTime: nowSeconds() - 7200,
    claims: { email: 'differs@else.test', email_verified: true, groups: ['others'], department: 'others', device_id: 'bad' },
  }),
  silent: (): Person => ({ sub: 'silent', authTime: undefined, claims: { device_id: 'mute' } }),
  deviceless: (): Person => ({ sub: 'deviceless', claims: {} }),
  outdated: (): Person => ({ sub: 'outdated', claims: { device_id: 'late' } }),
}

const reports: Readonly<Record<string, { readonly ago: number; readonly posture: object }>> = {
  good: {
    ago: 0,
    posture: {
      ...{ managed: true, disk_encrypted: true, screen_lock: true, firewall: true, os: 'linux', os_version: '6.8' },
      attributes: { ring: 'wanted' },
    },
  },
  bad: {
    ago: 0,
    posture: {
      ...{ managed: false, disk_encrypted: false, screen_lock: false, firewall: false, os: 'linux', os_version: '5.4' },
      attributes: { ring: 'others' },
    },
  },
  late: { ago: 2 * 86_400_000, posture: { managed: true, disk_encrypted: true, attributes: { ring: 'wanted' } } },
}

export interface PolicyRig {
  readonly rig: Rig
  readonly provider: HostileProvider
  /** Asks for a path of an app, as a program would. */
  ask(asker: Asker, line: string, options?: { readonly app?: string; readonly headers?: readonly string[] }): Promise<RawAnswer>
  check(): void
  stop(): Promise<void>
}

/** The service that `service` is. */
export const callers = (issuer: string) => ({ nightly: { jwt: { issuer, audience: 'internal-services', scopes_all: ['data:read'] } } })

/** What a document may want to name. */
export interface Surroundings {
  /** Of the service's tokens. */
  readonly issuer: string
  /** A list of networks: where `fits` is. */
  readonly networksFile: string
}

/** Starts it all. */
export async function startPolicyRig(
  policy: (surroundings: Surroundings) => { readonly apps: readonly AppWish[]; readonly document?: Readonly<Record<string, unknown>> },
): Promise<PolicyRig> {
  const provider = await startHostileProvider()
  const issuer = await startIssuer()
  const key = createSigningKey('ES256', 'es-1')
  issuer.keys = [key.jwk]
  const folder = await mkdtemp(join(tmpdir(), 'postern-policy-rig-'))
  const network = (address: string) => address.replace(/\.\d+$/, '.0/24')
  const places = (record: (which: 'there' | 'elsewhere') => object) =>
    writePlaceDatabase({
      networks: { [network(addresses.there)]: record('there'), [network(addresses.elsewhere)]: record('elsewhere') },
    })
  const files = { country: join(folder, 'country.mmdb'), asn: join(folder, 'asn.mmdb'), networks: join(folder, 'networks.txt') }
  await writeFile(
    files.country,
    places((which) => countryRecord(which === 'there' ? 'DE' : 'US')),
  )
  await writeFile(
    files.asn,
    places((which) => asnRecord(which === 'there' ? 64_512 : 64_513)),
  )
  await writeFile(files.networks, `${network(addresses.there)} # there\n`)
  const { apps, document = {} } = policy({ issuer: issuer.issuer, networksFile: files.networks })
  const rig = await startRig({
    issuer: provider.issuer,
    provider: {
      client_secret: provider.clientSecret,
      scopes: ['openid'],
      claims: { groups: ['groups'], device_id: 'device_id' },
      strengths: { mfa: { acr: ['2'], amr: ['otp'] } },
    },
    configuration: { trusted_proxies: ['127.0.0.1/32'], facts: { country_file: files.country, asn_file: files.asn } },
    policy: document,
    apps,
  })
  await fillInventory(rig, folder)

  const cookies = new Map<string, Promise<string>>()
  let signingIn: Promise<unknown> = Promise.resolve()
  /** One after another: the provider signs in whom it was last told to. */
  function cookieOf(name: Name, app: string): Promise<string> {
    const known = cookies.get(`${name} ${app}`)
    if (known !== undefined) return known
    const made = signingIn.then(async () => {
      provider.behaviour.person = cast[name]()
      const client = new Client()
      await client.follow(`${rig.origin(app)}/`)
      const cookie = client.cookieHeader(`${rig.origin(app)}/`)
      if (!cookie.includes('postern-app=')) throw new Error(`${name} could not sign in at ${app}\n${rig.instance.log().slice(-2000)}`)
      return cookie
    })
    cookies.set(`${name} ${app}`, made)
    signingIn = made.catch(() => undefined)
    return made
  }

  return {
    rig,
    provider,
    ask: async ({ as, address, userAgent }, line, { app = 'app', headers = [] } = {}) => {
      const claims = { iss: issuer.issuer, aud: 'internal-services', sub: 'nightly', scope: 'data:read', exp: nowSeconds() + 300 }
      const who =
        as === 'nobody'
          ? []
          : as === 'service'
            ? [`Postern-Authorization: Bearer ${mint(key, { ...claims, iat: nowSeconds() })}`]
            : [`Cookie: ${await cookieOf(as, app)}`, 'Sec-Fetch-Site: same-origin']
      const circumstances = [
        `X-Forwarded-For: ${address ?? addresses.uncharted}`,
        ...(userAgent === undefined ? [] : [`User-Agent: ${userAgent}`]),
      ]
      return await sendLine(rig, `${line} HTTP/1.1`, [...who, ...circumstances, ...headers, 'Connection: close'], {
        host: `${app}.corp.localhost:${rig.port}`,
      })
    },
    check: () => mustBeAlive(rig),
    stop: async () => {
      try {
        await endRig(rig)
      } finally {
        await provider.stop()
        await issuer.close()
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

async function fillInventory(rig: Rig, folder: string): Promise<void> {
  const config = join(rig.instance.folder, '..', 'postern-0.yaml')
  const list = join(folder, 'devices.csv')
  await writeFile(list, 'id,serial,tags\ngood,WANTED-1,wanted\nbad,OTHER-1,others\nlate,LATE-1,\nmute,,\n')
  const imported = await runCommand(['device', 'import', list, '--config', config])
  if (imported.code !== 0) throw new Error(imported.stderr)
  const created = await runCommand(['token', 'create', '--name', 'reports', '--scope', 'devices:report', '--config', config])
  for (const [id, { ago, posture }] of Object.entries(reports)) {
    const answer = await new Client().send(`${rig.origin('access')}/api/v1/devices/${id}/reports`, {
      as: 'fetch',
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${created.stdout.trim()}` },
      body: JSON.stringify({ observed_at: new Date(Date.now() - ago).toISOString(), posture }),
    })
    if (answer.status !== 200) throw new Error(`the report of ${id} was refused: ${answer.status} ${answer.body}`)
  }
}
