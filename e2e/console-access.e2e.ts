/**
 * Who gets into the console, and with what: roles, invitations by command, a sign-in of late for changes, and a token made there that a
 * program uses. Two instances on one Redis.
 */

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, Client } from './support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'
import { noteSecret } from './support/secret-watch.ts'

const signInWithinSeconds = 5

describe('the console', () => {
  let rig: Rig
  /** Alice holds the role admin by her group; bob holds none. */
  let alice: Client
  let bob: Client

  beforeAll(async () => {
    rig = await startRig({
      store: 'redis',
      instances: 2,
      configuration: {
        console: {
          roles: { admin: { groups: ['postern-admins'] }, auditor: { groups: ['postern-auditors'] } },
          sign_in_within: `${signInWithinSeconds}s`,
        },
      },
    })
    alice = new Client()
    bob = new Client()
    await rig.signIn(alice, 'alice', rig.origin('access'))
    await rig.signIn(bob, 'bob', rig.origin('access'))
  })
  afterAll(() => rig?.stop())

  const at = (path: string) => new URL(path, rig.origin('access')).href
  const command = (...args: string[]) => runCommand(['console', ...args, '--config', join(rig.instance.folder, '..', 'postern-0.yaml')])
  /** The same on the other instance. */
  async function onBoth(client: Client, path: string): Promise<readonly number[]> {
    const first = await client.send(at(path))
    client.detours.set(rig.port, rig.instances[1]?.port ?? 0)
    const second = await client.send(at(path))
    client.detours.clear()
    return [first.status, second.status]
  }
  function submit(client: Client, path: string, page: Answer, fields: Readonly<Record<string, string>>): Promise<Answer> {
    const token = /name="form_token" value="([^"]+)"/.exec(page.body)?.[1] ?? ''
    return client.send(at(path), {
      method: 'POST',
      body: new URLSearchParams({ form_token: token, form_page: new URL(page.url).pathname, ...fields }).toString(),
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        origin: rig.origin('access'),
        'sec-fetch-site': 'same-origin',
      },
    })
  }

  test('sends a stranger to sign in and back to the very page', async () => {
    const client = new Client()
    const { body, url } = await rig.signIn(client, 'alice', at('/console/tokens?after=x'))
    expect(url).toBe(at('/console/tokens?after=x'))
    expect(body).toContain('<h1>Service tokens</h1>')
  })

  test('is open to whom a role names, on every instance, and to nobody else', async () => {
    expect(await onBoth(alice, '/console/tokens')).toEqual([200, 200])
    expect(await onBoth(bob, '/console/tokens')).toEqual([403, 403])
    expect(await onBoth(bob, '/console')).toEqual([403, 403])
    expect((await bob.send(at('/console'))).body).toContain('holds no role')
  })

  test('is linked on the portal of whom a role names, and of nobody else', async () => {
    const portals = await Promise.all([alice, bob].map((client) => client.send(at('/'))))
    expect(portals.map(({ body, status }) => [status, body.includes('href="/console"')])).toEqual([
      [200, true],
      [200, false],
    ])
  })

  test('lets somebody in by an invitation, and out again when it is taken back', async () => {
    const invited = await command('invite', 'Bob@corp.example', '--role', 'auditor', '--for', '10m')
    expect({ code: invited.code, stdout: invited.stdout }).toEqual({ code: 0, stdout: `${at('/console')}\n` })
    await waitFor(async () => (await onBoth(bob, '/console/tokens')).every((status) => status === 200), 10_000)
    // An auditor reads, and finds no button to change anything.
    const list = await bob.send(at('/console/tokens'))
    expect(list.body).not.toContain('/console/tokens/new')
    expect((await bob.send(at('/console/tokens/new'))).status).toBe(403)
    const { stdout } = await command('invites', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ email: 'bob@corp.example', role: 'auditor' })
    expect((await command('uninvite', 'bob@corp.example')).code).toBe(0)
    await waitFor(async () => (await onBoth(bob, '/console/tokens')).every((status) => status === 403), 10_000)
    expect((await command('uninvite', 'bob@corp.example')).code).toBe(1)
  })

  test('changes nothing by a sign-in of long ago, and goes on after a fresh one; the token that is made works at once', async () => {
    const form = await alice.send(at('/console/tokens/new'))
    const wish = { name: 'Desk', scope: 'locks:read', lifetime_seconds: '604800' }
    let refused: Answer | undefined
    await waitFor(
      async () => {
        refused = await submit(alice, '/console/tokens/new', form, { ...wish, name: ' ' })
        return refused.status === 401
      },
      (signInWithinSeconds + 10) * 1000,
    )
    expect(refused?.header('x-postern')).toBe('insufficient_user_authentication')
    expect(refused?.body).toContain('Nothing was changed')
    expect((await alice.send(at('/console/tokens'))).body).not.toContain('Desk')
    // Said once on the next page; asked for again, so that it waits for the page after the sign-in.
    refused = await submit(alice, '/console/tokens/new', form, wish)
    const href = /href="(\/sign-in\?[^"]+)"/.exec(refused.body)?.[1]?.replaceAll('&amp;', '&') ?? ''
    const page = await rig.signIn(alice, 'alice', at(href))
    expect(page.url).toBe(at('/console/tokens/new'))
    expect(page.body).toContain('The change was not made')

    const made = await submit(alice, '/console/tokens/new', page, wish)
    const [token = ''] = /pst_[0-9A-Za-z_]{62}/.exec(made.body) ?? []
    noteSecret(token, 'the token that was made in the console')
    expect(made.status).toBe(200)
    const program = new Client()
    const locks = await program.send(at('/api/v1/locks'), { as: 'fetch', headers: { authorization: `Bearer ${token}` } })
    expect(locks.status).toBe(200)
  })

  test('refuses a form without its token, and one from another site, whoever sends it', async () => {
    const page = await alice.send(at('/console/tokens/new'))
    const foreign = { ...page, body: '' }
    expect((await submit(alice, '/console/tokens/new', foreign, { name: 'x' })).status).toBe(403)
    const crossed = await alice.send(at('/console/tokens/new'), {
      method: 'POST',
      body: 'name=x',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: rig.origin('app'), 'sec-fetch-site': 'same-site' },
    })
    expect([crossed.status, crossed.header('x-postern')]).toEqual([403, 'cross_origin'])
  })

  test('has what was done on record, by whom', async () => {
    const lines = await rig.audit()
    const invitations = lines.filter((line) => String(line['event']).startsWith('console.'))
    expect(invitations).toMatchObject([
      {
        event: 'console.invited',
        actor: expect.stringMatching(/^os:/),
        email: 'bob@corp.example',
        role: 'auditor',
        until: expect.any(String),
      },
      { event: 'console.uninvited', email: 'bob@corp.example', role: 'auditor' },
    ])
    expect(lines.filter((line) => line['event'] === 'token.created')).toMatchObject([{ actor: 'person:alice', name: 'Desk' }])
  })
})
