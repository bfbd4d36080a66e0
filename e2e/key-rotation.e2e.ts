/**
 * Keys change under load: nobody is signed out, no request is lost or refused, and verifiers find every key they need.
 */

import { readFile } from 'node:fs/promises'
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { type Instance, type Rig, runCommand, startRig, waitFor } from './support/rig.ts'

const rounds = (process.env['POSTERN_TEST_LONG'] ?? '') === '' ? 2 : 6

describe('key rotation', () => {
  let rig: Rig
  let first: Instance
  let second: Instance

  beforeAll(async () => {
    rig = await startRig({ store: 'redis', instances: 2 })
    const [one, two] = rig.instances
    if (one === undefined || two === undefined) throw new Error('two instances were asked for')
    first = one
    second = two
  })
  afterAll(() => rig?.stop())

  const url = () => `${rig.origin('app')}/ok`
  const rotate = (...options: string[]) => runCommand(['keys', 'rotate', '--config', `${first.folder}/../postern-0.yaml`, ...options])

  function at(instance: Instance, client = new Client()): Client {
    if (instance !== first) client.detours.set(rig.port, instance.port)
    return client
  }

  async function keysAt(instance: Instance): Promise<JSONWebKeySet> {
    return JSON.parse((await at(instance).send(`${rig.origin('app')}/.postern/jwks.json`, { as: 'fetch' })).body) as JSONWebKeySet
  }

  const kidsAt = async (instance: Instance) => (await keysAt(instance)).keys.map((key) => key.kid)

  async function assertionFor(client: Client): Promise<string> {
    const { headers } = JSON.parse((await client.send(url(), { as: 'fetch' })).body) as { headers: [string, string][] }
    return headers.find(([name]) => name.toLowerCase() === 'x-postern-assertion')?.[1] ?? ''
  }

  async function verify(assertion: string, instance: Instance): Promise<string | undefined> {
    const options = { issuer: rig.origin('access'), audience: rig.origin('app'), typ: 'postern+jwt' }
    return (await jwtVerify(assertion, createLocalJWKSet(await keysAt(instance)), options)).payload.sub
  }

  async function everyInstanceHas(kids: readonly (string | undefined)[]): Promise<void> {
    for (const instance of rig.instances)
      await waitFor(
        async () => JSON.stringify(await kidsAt(instance)) === JSON.stringify(kids),
        8000,
        () => `an instance does not publish ${kids.join(', ')}`,
      )
  }

  test('a key that verifiers cannot have seen yet is not put in force, unless it is said to be urgent', async () => {
    const before = await kidsAt(first)
    expect(before).toHaveLength(2)
    const refused = await rotate('--assertion')
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain('verifiers')
    expect(await kidsAt(first)).toEqual(before)
  })

  test('rotating everything under load loses and refuses nothing, on two instances', async () => {
    const clients = await Promise.all(
      ['alice', 'bob', 'alice', 'bob'].map(async (who) => {
        const client = new Client()
        expect((await rig.signIn(client, who, url())).status).toBe(200)
        return client
      }),
    )
    const [one] = clients
    if (one === undefined) throw new Error('nobody signed in')
    const seen: Record<string, number> = {}
    let isDone = false
    const load = clients.flatMap((client) =>
      rig.instances.map(async (instance) => {
        const copy = at(instance)
        copy.setCookie('postern-app', client.cookie('postern-app', 'app.corp.localhost') ?? '', 'app.corp.localhost')
        while (!isDone) {
          const answer = await copy.send(url(), { as: 'fetch' }).catch((error: unknown) => ({ status: String(error) }))
          seen[answer.status] = (seen[answer.status] ?? 0) + 1
        }
      }),
    )

    try {
      for (let round = 0; round < rounds; round += 1) {
        const before = (await keysAt(first)).keys.slice(-2).map((key) => key.kid)
        const old = await assertionFor(one)
        expect(decodeProtectedHeader(old).kid).toBe(before[0])
        // Begun before the rotation, finished after: the cookie of this attempt was sealed with the outgoing key.
        const newcomer = new Client()
        const atProvider = await newcomer.follow(url())
        expect(atProvider.url).toContain('/interaction/')

        const result = await rotate('--now')
        expect(result, result.stderr).toMatchObject({ code: 0 })
        await waitFor(async () => (await kidsAt(first)).length === 3 && (await kidsAt(first))[0] === before[0])
        const [previous, current, next] = await kidsAt(first)
        expect([previous, current]).toEqual(before)
        expect(before).not.toContain(next)
        await everyInstanceHas([previous, current, next])

        expect(await verify(old, first)).toBe('alice')
        expect(await verify(old, second)).toBe('alice')
        await waitFor(async () => decodeProtectedHeader(await assertionFor(one)).kid === current)
        expect(await verify(await assertionFor(one), second)).toBe('alice')
        expect((await rig.signIn(newcomer, 'bob', atProvider.url)).status).toBe(200)
      }
    } finally {
      isDone = true
      await Promise.all(load)
    }
    console.log(`answers during ${rounds} rotations: ${JSON.stringify(seen)}`)
    expect(Object.keys(seen)).toEqual(['200'])
    expect(seen['200']).toBeGreaterThan(100)
  }, 120_000)

  test('sessions sealed before a rotation go on after it and after a restart; the file stays for its owner alone', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', url())
    expect(await rotate('--sealing')).toMatchObject({ code: 0 })
    expect(await rotate('--sealing')).toMatchObject({ code: 0 })
    for (const instance of rig.instances) {
      await instance.stop()
      await instance.start()
      const there = at(instance)
      there.setCookie('postern-app', client.cookie('postern-app', 'app.corp.localhost') ?? '', 'app.corp.localhost')
      expect((await there.send(url(), { as: 'fetch' })).status).toBe(200)
    }
    expect((await client.send(`${rig.origin('access')}/`)).status).toBe(200)
  }, 60_000)

  test('the trail says which key signs, and neither trail, log nor output shows a key', async () => {
    const result = await rotate('--now')
    const kid = /Signing key: (\S+)/.exec(result.stdout)?.[1]
    expect(kid).toBeDefined()
    await waitFor(async () => (await rig.audit()).some((line) => line['event'] === 'keys.rotated' && line['kid'] === kid))
    const file = JSON.parse(await readFile(`${first.folder}/../keys.json`, 'utf8')) as {
      sealing: { current: { key: string }; next: { key: string }; retired: { key: string }[] }
      assertion: Record<'current' | 'next' | 'previous', { jwk: { d: string } }>
    }
    const secrets = [file.sealing.current, file.sealing.next, ...file.sealing.retired].map(({ key }) => key)
    for (const { jwk } of Object.values(file.assertion)) secrets.push(jwk.d)
    const said = `${result.stdout}${result.stderr}${first.log()}${second.log()}${JSON.stringify(await rig.audit())}`
    for (const secret of secrets) expect(said.includes(secret)).toBe(false)
  })
})
