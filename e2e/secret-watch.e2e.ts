/**
 * The search for secrets finds what it is there to find: each kind of secret that a story uses is planted where an instance may say it,
 * and the rig fails at its end. Without a plant it passes, so that a pass means something.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { startHostileProvider } from './support/hostile-provider.ts'
import { type Rig, startRig } from './support/rig.ts'
import { countSecrets, findSecrets, forgiveSecret, noteSecret, noteToken } from './support/secret-watch.ts'

const secret = 'a-secret/that+nobody says: Ünïque#42'

test('a secret is found as it is, escaped and encoded, wherever it stands', () => {
  noteSecret(secret, 'the planted one')
  const bytes = (before: string, after: string) => Buffer.from(`${before}${secret}${after}`, 'utf8')
  const spellings = [
    secret,
    encodeURIComponent(secret),
    encodeURIComponent(encodeURIComponent(secret)),
    JSON.stringify({ err: secret }),
    ...['', 'a', 'ab', 'abc', 'user:'].flatMap((before) => [
      bytes(before, '').toString('base64'),
      bytes(before, 'after').toString('base64url'),
    ]),
  ]
  for (const spelling of spellings) {
    const found = findSecrets(`{"level":40}\n${spelling}\n`, 'the log')
    expect(found, spelling).toHaveLength(1)
    expect(found[0]).toMatch(/^the log holds the planted one/)
  }
  expect(findSecrets(secret.slice(0, -3), 'the log')).toEqual([])
  noteToken('eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg', 'a token')
  expect(findSecrets('of a token only c2lnbmF0dXJlLW9mLXRoZS10b2tlbg is left', 'the log')).toHaveLength(1)
  expect(findSecrets('eyJhbGciOiJub25lIn0 begins every token', 'the log')).toEqual([])
  forgiveSecret(secret)
  expect(findSecrets(spellings.join('\n'), 'the log')).toEqual([])
})

/** What a whole sign-in used, by kind, and where an instance can be brought to say it: in the path of a request that goes on record. */
const plants: Readonly<Record<string, (rig: Rig, client: Client) => Promise<string>>> = {
  'a session cookie': async (rig, client) => client.cookieHeader(`${rig.origin('app')}/`).replace(/^.*postern-app=([^;]+).*$/, '$1'),
  'a root of the key file': async (rig) => {
    const keys = JSON.parse(await readFile(join(rig.instance.folder, '..', 'keys.json'), 'utf8'))
    return String(keys.sealing.current.key)
  },
  'the client secret': async () => 'rig-client-secret-0123456789abcdef',
}

test.each(Object.keys(plants))('a rig fails at its end where %s was said', async (kind) => {
  const rig = await startRig()
  try {
    const client = new Client()
    expect((await rig.signIn(client, 'alice', `${rig.origin('app')}/ok`)).status).toBe(200)
    const planted = await plants[kind]?.(rig, client)
    expect(planted?.length).toBeGreaterThan(20)
    await client.send(`${rig.origin('app')}/echo/${encodeURIComponent(planted ?? '')}`)
  } finally {
    await expect(rig.stop()).rejects.toThrow(/secrets of this story were said:\nthe audit trail .* holds/)
  }
})

test('a rig whose story kept its secrets passes, and they were watched for', async () => {
  const provider = await startHostileProvider()
  const before = countSecrets()
  const rig = await startRig({
    issuer: provider.issuer,
    provider: { client_secret: provider.clientSecret, scopes: ['openid'], claims: { groups: ['groups'] } },
  })
  const client = new Client()
  expect((await client.follow(`${rig.origin('app')}/ok`)).status).toBe(200)
  await rig.stop()
  await provider.stop()
  // Cookies on two hosts, attempts, state, nonce, verifier, code, hand-off code, three tokens, keys.
  expect(countSecrets() - before).toBeGreaterThan(12)
})
