/**
 * The files of the compose demo agree with each other and with the embedded demo: one realm, one client, the same three people.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadPolicy } from '../config/load-policy.ts'
import { demoPeople } from './people.ts'

const root = join(import.meta.dirname, '..', '..')
const read = (path: string) => readFile(join(root, path), 'utf8')

interface Realm {
  readonly clients: readonly {
    readonly clientId: string
    readonly secret: string
    readonly redirectUris: string[]
    readonly attributes: Record<string, string>
  }[]
  readonly users: readonly {
    readonly username: string
    readonly email: string
    readonly emailVerified: boolean
    readonly groups: string[]
  }[]
}

describe('the compose files', () => {
  it('name one client, one secret and the same addresses', async () => {
    const realm = JSON.parse(await read('config/keycloak/realm-corp.json')) as Realm
    const instance = parse(await read('config/compose/postern.yaml')) as { url: string; provider: { client_id: string; issuer: string } }
    const [client] = realm.clients
    expect(client?.clientId).toBe(instance.provider.client_id)
    expect(client?.secret).toBe((await read('config/compose/secrets/postern_client')).trim())
    expect(client?.redirectUris).toEqual([`${instance.url}/oidc/callback`])
    expect(client?.attributes).toMatchObject({
      'pkce.code.challenge.method': 'S256',
      'post.logout.redirect.uris': `${instance.url}/signed-out`,
      'backchannel.logout.url': `${instance.url}/oidc/backchannel-logout`,
      'backchannel.logout.session.required': 'true',
    })
    const password = (await read('config/compose/secrets/redis_password')).trim()
    expect((await read('config/compose/secrets/session_store')).trim()).toBe(`redis://:${password}@redis:6379/0`)
  })

  it('know the same people as the embedded provider', async () => {
    const realm = JSON.parse(await read('config/keycloak/realm-corp.json')) as Realm
    const people = realm.users.map(({ username, email, groups }) => ({ username, email, groups: groups.map((group) => group.slice(1)) }))
    expect(people).toEqual(demoPeople.map(({ id, email, groups }) => ({ username: id, email, groups })))
    expect(realm.users.every(({ emailVerified }) => emailVerified)).toBe(true)
  })

  it('have a policy without a problem, for apps that the compose file runs', async () => {
    const { value, problems } = await loadPolicy(join(root, 'config/compose/policy.yaml'), { configuration: undefined })
    expect(problems).toEqual([])
    const compose = parse(await read('docker-compose.yml'), { merge: true }) as {
      services: Record<string, { command?: string[]; ports?: string[]; networks?: { corp?: { aliases?: string[] } } }>
    }
    const aliases = compose.services['postern']?.networks?.corp?.aliases ?? []
    for (const app of value?.apps ?? []) {
      expect(aliases).toContain(app.address.hostname)
      expect(app.upstreams.map(({ origin }) => origin)).toEqual([`http://${app.id}:3000`])
      expect(compose.services[app.id]?.command?.[0]).toBe(app.id)
      // An app that is published could be asked around Postern.
      expect(compose.services[app.id]?.ports).toBeUndefined()
    }
    const published = Object.values(compose.services).flatMap(({ ports }) => ports ?? [])
    expect(published.every((port) => port.startsWith('127.0.0.1:'))).toBe(true)
  })
})
