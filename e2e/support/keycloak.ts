/**
 * A real Keycloak for the stories: the realm of the compose file, with its addresses replaced by those of the test.
 *
 * Where nothing here can run it, nothing is started and the reason is returned: the caller decides whether that is a skip or a
 * failure.
 */

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { findFreePort } from './free-port.ts'
import { createCodeSource } from './keycloak-code.ts'
import { administrator, type KeycloakProcess, prepareKeycloak } from './keycloak-process.ts'

const realmFile = resolve(import.meta.dirname, '../../config/keycloak/realm-corp.json')

/** Postern's address in the realm file. */
const writtenAccess = 'http://access.corp.localhost:8080'

/** Keycloak accepts no code twice; a test that signs in twice within half a minute would have to wait for the next one. It reads these as a whole. */
const forTests = {
  otpPolicyType: 'totp',
  otpPolicyAlgorithm: 'HmacSHA1',
  otpPolicyInitialCounter: 0,
  otpPolicyDigits: 6,
  otpPolicyLookAheadWindow: 1,
  otpPolicyPeriod: 30,
  otpPolicyCodeReusable: true,
}

export interface KeycloakOptions {
  /** Port of the issuer `http://login.corp.localhost:PORT/realms/corp`. */
  readonly port: number
  /** Postern's access URL: redirect, post-logout and back-channel logout addresses are below it. */
  readonly access: URL
  /** Told what takes long. */
  readonly say?: (text: string) => void
}

export interface KeycloakAdmin {
  /** A request to `/admin/realms/corp` + `path` with an administrator's token; rejects unless the answer is 2xx. */
  request(method: string, path: string, body?: unknown): Promise<unknown>
  /** The id of a user of the realm by username. */
  findUserId(username: string): Promise<string>
  /** The id of a group of the realm by name. */
  findGroupId(name: string): Promise<string>
}

export interface StartedKeycloak {
  readonly outcome: 'started'
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** Username to password. */
  readonly passwords: ReadonlyMap<string, string>
  /** Username to a source of one-time codes, for those who have one. */
  readonly codes: ReadonlyMap<string, () => string>
  readonly admin: KeycloakAdmin
  /** Names Postern's addresses at Keycloak, where its port was not known when the realm was imported. */
  register(access: string): Promise<void>
  /** Ends the process, and keeps its database. */
  halt(): Promise<void>
  /** Starts it again after `halt`. */
  resume(): Promise<void>
  /** Ends the process and removes everything but the cache. */
  stop(): Promise<void>
}

export type KeycloakStart = StartedKeycloak | { readonly outcome: 'unavailable'; readonly reason: string }

/**
 * Keycloak on a port of its own, for a story whose own address is not known yet: `register` names it. Rejects with the reason where it
 * cannot be had: a machine that promised it has to have it.
 */
export async function startKeycloakForStory(): Promise<StartedKeycloak> {
  const access = new URL('http://access.corp.localhost:1')
  const started = await startKeycloak({ port: await findFreePort(), access, say: (text) => console.log(text) })
  if (started.outcome === 'unavailable') throw new Error(started.reason)
  return started
}

/** Starts Keycloak and waits until it answers. Rejects if it was expected to work and did not; the log's end is in the error. */
export async function startKeycloak(options: KeycloakOptions): Promise<KeycloakStart> {
  const say = options.say ?? (() => {})
  const written = await readFile(realmFile, 'utf8')
  const adminPassword = randomBytes(12).toString('hex')
  const keycloak = await prepareKeycloak({
    port: options.port,
    realm: JSON.stringify({ ...(JSON.parse(written.replaceAll(writtenAccess, options.access.origin)) as object), ...forTests }),
    names: ['login.corp.localhost', options.access.hostname],
    adminPassword,
    say,
  })
  if (typeof keycloak === 'string') return { outcome: 'unavailable', reason: keycloak }

  const origin = `http://127.0.0.1:${options.port}`
  const admin = createKeycloakAdmin(origin, adminPassword)
  const resume = async () => {
    keycloak.start()
    await waitUntilReady(`${origin}/realms/corp/.well-known/openid-configuration`, keycloak)
  }
  const stop = async () => {
    await keycloak.end()
    await keycloak.remove()
  }
  try {
    say('starting Keycloak')
    await resume()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    outcome: 'started',
    issuer: `http://login.corp.localhost:${options.port}/realms/corp`,
    ...readRealm(written),
    admin,
    register: (access) => registerClient(admin, access),
    halt: () => keycloak.end(),
    resume,
    stop,
  }
}

/** The administration of a Keycloak at `origin` by its first administrator. */
export function createKeycloakAdmin(origin: string, password: string): KeycloakAdmin {
  const request = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const form = new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username: administrator, password })
    const granted = await fetch(`${origin}/realms/master/protocol/openid-connect/token`, { method: 'POST', body: form })
    if (!granted.ok) throw new Error(`no administrator's token: ${granted.status}`)
    const { access_token: token } = (await granted.json()) as { access_token: string }
    const answer = await fetch(`${origin}/admin/realms/corp${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
  const findId = async (path: string, isIt: (entry: { username?: string; name?: string }) => boolean): Promise<string> => {
    const entries = (await request('GET', path)) as { id: string; username?: string; name?: string }[]
    const id = entries.find(isIt)?.id
    if (id === undefined) throw new Error(`nothing in ${path}`)
    return id
  }
  return {
    request,
    findUserId: (username) => findId(`/users?exact=true&username=${encodeURIComponent(username)}`, (user) => user.username === username),
    findGroupId: (name) => findId(`/groups?exact=true&search=${encodeURIComponent(name)}`, (group) => group.name === name),
  }
}

async function registerClient(admin: KeycloakAdmin, access: string): Promise<void> {
  const [client] = (await admin.request('GET', '/clients?clientId=postern')) as [{ id: string; attributes: Record<string, string> }]
  await admin.request('PUT', `/clients/${client.id}`, {
    ...client,
    rootUrl: access,
    redirectUris: [`${access}/oidc/callback`],
    attributes: {
      ...client.attributes,
      'post.logout.redirect.uris': `${access}/signed-out`,
      'backchannel.logout.url': `${access}/oidc/backchannel-logout`,
    },
  })
}

async function waitUntilReady(url: string, keycloak: KeycloakProcess): Promise<void> {
  const deadline = performance.now() + 180_000
  while (performance.now() < deadline && keycloak.exitCode() === undefined) {
    const isReady = await fetch(url, { signal: AbortSignal.timeout(2000) }).then(
      (answer) => answer.ok,
      () => false,
    )
    if (isReady) return
    await new Promise((next) => setTimeout(next, 250))
  }
  const log = await readFile(keycloak.logFile, 'utf8').catch(() => '')
  const end = log.split('\n').slice(-25).join('\n')
  throw new Error(`Keycloak did not become ready (exit ${keycloak.exitCode() ?? 'none'}):\n${end}`)
}

interface RealmCredential {
  readonly type: string
  readonly value?: string
  /** JSON within JSON, as Keycloak keeps it. */
  readonly secretData?: string
}

function readRealm(text: string): Pick<StartedKeycloak, 'clientId' | 'clientSecret' | 'passwords' | 'codes'> {
  const realm = JSON.parse(text) as {
    clients: { clientId: string; secret: string }[]
    users: { username: string; credentials: RealmCredential[] }[]
  }
  const client = realm.clients[0]
  if (client === undefined) throw new Error('the realm file has no client')
  const find = (type: string) =>
    realm.users.flatMap(({ username, credentials }) => {
      const credential = credentials.find((one) => one.type === type)
      return credential === undefined ? [] : [{ username, credential }]
    })
  return {
    clientId: client.clientId,
    clientSecret: client.secret,
    passwords: new Map(find('password').map(({ username, credential }) => [username, credential.value ?? ''])),
    codes: new Map(find('otp').map(({ username, credential }) => [username, createCodeSource(secretOf(credential))])),
  }
}

function secretOf({ secretData = '{}' }: RealmCredential): string {
  return (JSON.parse(secretData) as { value?: string }).value ?? ''
}
