/**
 * Cutting somebody off by command, on systems that run: over Redis, over the control socket of an instance with the embedded store, and over
 * the API with a service token. And letting somebody in while the provider is down.
 */

import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'

type Line = Readonly<Record<string, unknown>>
type Way = 'embedded' | 'redis' | 'api'

describe.each(['embedded', 'redis', 'api'] as const)('cutting people off by command, over %s', (way: Way) => {
  let rig: Rig
  let token: string
  let bob: Client
  let alice: Client

  const config = () => join(rig.instance.folder, '..', 'postern-0.yaml')
  const where = () => (way === 'api' ? ['--url', rig.origin('access'), '--token', token] : ['--config', config()])
  const command = (...args: string[]) => runCommand([...args, ...where()])
  const statusOf = async (client: Client, app = 'app') => (await client.send(`${rig.origin(app)}/ok`, { as: 'fetch' })).status
  /** The promise is a second; what is waited for here is longer only so that a slow machine says what happened instead. */
  const becomes = (client: Client, status: number, app = 'app') => waitFor(async () => (await statusOf(client, app)) === status, 5_000)
  const linesOf = (stdout: string) =>
    stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line)
  const audited = async (event: string) => (await rig.audit()).filter((line) => line['event'] === event)
  const actor = () => expect.stringMatching(way === 'api' ? /^token:/ : /^os:.+@.+/)

  beforeAll(async () => {
    rig = await startRig({ store: way === 'redis' ? 'redis' : 'embedded' })
    const scopes = ['locks:read', 'locks:write', 'sessions:read', 'sessions:revoke'].flatMap((scope) => ['--scope', scope])
    token = (await runCommand(['token', 'create', '--name', 'incident desk', ...scopes, '--config', config()])).stdout.trim()
  })
  afterAll(() => rig?.stop())
  beforeEach(async () => {
    bob = new Client()
    alice = new Client()
    await rig.signIn(bob, 'bob', `${rig.origin('app')}/ok`)
    await rig.signIn(alice, 'alice', `${rig.origin('app')}/ok`)
    expect([await statusOf(bob), await statusOf(alice)]).toEqual([200, 200])
  })

  afterEach(async () => {
    for (const { on, target } of linesOf((await command('lock', 'list', '--json')).stdout)) {
      await command('unlock', String(on), String(target), '--reason', 'the test is over')
    }
  })

  test('sessions are listed, ended by id, and told apart', async () => {
    const listed = await command('sessions', 'list', '--subject', 'bob@corp.example', '--json')
    expect(listed, listed.stderr).toMatchObject({ code: 0 })
    const [newest] = linesOf(listed.stdout)
    expect(newest).toMatchObject({ sub: 'bob', email: 'bob@corp.example', address: '127.0.0.1' })
    const id = String(newest?.['id'])
    expect((await command('sessions', 'list')).stdout).toContain(id)

    const revoked = await command('sessions', 'revoke', id, '--reason', 'lost laptop', '--json')
    expect(revoked, revoked.stderr).toMatchObject({ code: 0 })
    expect(JSON.parse(revoked.stdout)).toEqual({ revoked: [id], ended_before: [], unknown: [] })
    await becomes(bob, 401)
    expect(await statusOf(alice)).toBe(200)

    expect(await command('sessions', 'revoke', id)).toMatchObject({ code: 0, stdout: `Ended before: ${id}\n` })
    expect(await command('sessions', 'revoke', 'A'.repeat(22))).toMatchObject({ code: 1, stdout: '' })
    await waitFor(async () => (await audited('sessions.revoked')).length === 1 && (await audited('session.ended')).length > 0)
    expect(await audited('sessions.revoked')).toMatchObject([{ actor: actor(), sessions: [id], reason: 'lost laptop' }])
    expect(await audited('session.ended')).toMatchObject([{ session: id, cause: 'revoked', subject: { sub: 'bob' } }])
  })

  test('all sessions of a person end at once; who is unknown is an error that says so', async () => {
    const other = new Client()
    await rig.signIn(other, 'bob', `${rig.origin('app')}/ok`)
    const revoked = await command('sessions', 'revoke', '--subject', 'bob')
    expect(revoked, revoked.stderr).toMatchObject({ code: 0 })
    await becomes(bob, 401)
    await becomes(other, 401)
    expect(await statusOf(alice)).toBe(200)
    const unknown = await command('sessions', 'revoke', '--subject', 'nobody@corp.example')
    expect(unknown).toMatchObject({ code: 1, stdout: '' })
    expect(unknown.stderr).toContain('sub')
  })

  test('a lock on a person refuses what is open to them, also with a new sign-in, until it is lifted', async () => {
    const locked = await command('lock', 'subject', 'bob@corp.example', '--reason', 'left the company', '--json')
    expect(locked, locked.stderr).toMatchObject({ code: 0 })
    expect(JSON.parse(locked.stdout)).toMatchObject({ on: 'subject', target: 'bob', label: 'bob@corp.example', until: null, by: actor() })
    await becomes(bob, 403)
    expect(await statusOf(alice)).toBe(200)

    const page = await bob.send(`${rig.origin('app')}/ok`)
    expect(page.status).toBe(403)
    expect(page.body).toContain('locked')
    expect(page.body).toContain(page.header('x-postern-request') ?? 'no request id')
    expect(page.body).not.toContain('left the company')
    const again = new Client()
    await rig.signIn(again, 'bob', `${rig.origin('app')}/ok`)
    expect(await statusOf(again)).toBe(403)

    const listed = await command('lock', 'list', '--json')
    expect(linesOf(listed.stdout)).toMatchObject([{ on: 'subject', target: 'bob', reason: 'left the company' }])
    await waitFor(async () => (await rig.audit()).some((line) => line['reason'] === 'locked' && line['lock'] !== undefined))
    expect(await command('unlock', 'subject', 'bob', '--reason', 'came back')).toMatchObject({ code: 0 })
    await becomes(bob, 200)
    expect((await command('lock', 'list')).stdout).toBe('')
    expect(await command('unlock', 'subject', 'bob', '--reason', 'again')).toMatchObject({ code: 1, stdout: '' })
    await waitFor(async () => (await audited('lock.lifted')).length === 1)
    expect(await audited('lock.set')).toMatchObject([{ actor: actor(), on: 'subject', target: 'bob', reason: 'left the company' }])
  })

  test('a lock on an app closes it for everybody, its public part too, and no other app', async () => {
    const locked = await command('lock', 'app', 'app', '--until', '1h', '--reason', 'incident')
    expect(locked, locked.stderr).toMatchObject({ code: 0 })
    await becomes(bob, 403)
    const stranger = new Client()
    const open = await stranger.send(`${rig.origin('app')}/public/x`, { as: 'fetch' })
    expect(open.status).toBe(403)
    expect(JSON.parse(open.body)).toMatchObject({ error: 'locked' })
    await rig.signIn(bob, 'bob', `${rig.origin('wiki')}/ok`)
    expect(await statusOf(bob, 'wiki')).toBe(200)
    expect(await command('unlock', 'app', 'app', '--reason', 'over')).toMatchObject({ code: 0 })
    await becomes(bob, 200)
  })

  test('a lock ends by itself at its time', async () => {
    const until = new Date(Date.now() + 4_000).toISOString()
    expect(await command('lock', 'subject', 'bob', '--until', until, '--reason', 'a moment')).toMatchObject({ code: 0 })
    await becomes(bob, 403)
    await becomes(bob, 200)
    expect((await command('lock', 'list')).stdout).toBe('')
  })

  const refused: [string[], number, string][] = [
    [['lock', 'subject', 'bob'], 2, '--reason'],
    [['lock', 'everything', 'x', '--reason', 'r'], 2, ''],
    [['lock', 'app', 'wiki', '--until', 'tomorrow', '--reason', 'r'], 2, 'duration'],
    [['lock', 'app', 'wiki', '--until', '2020-01-01T00:00:00Z', '--reason', 'r'], 1, 'over'],
    [['lock', 'subject', 'nobody@corp.example', '--reason', 'r'], 1, 'sub'],
    [['lock', 'device', 'laptop-0', '--reason', 'r'], 1, 'inventory'],
    [['sessions', 'revoke'], 2, '--subject'],
  ]
  test('what makes no sense is refused with a status and a reason, and changes nothing', async () => {
    for (const [args, code, reason] of refused) {
      const result = await command(...args)
      expect(result, args.join(' ')).toMatchObject({ code, stdout: '' })
      expect(result.stderr).toContain(reason)
    }
    expect((await command('lock', 'list')).stdout).toBe('')
    expect(await statusOf(bob)).toBe(200)
  })

  const testOver = (isMeant: boolean, name: string, story: () => Promise<void>) => isMeant && test(name, story)

  testOver(way === 'api', 'a token may do what its scopes say and nothing else', async () => {
    const reader = await runCommand(['token', 'create', '--name', 'reader', '--scope', 'locks:read', '--config', config()])
    const asReader = ['--url', rig.origin('access'), '--token', reader.stdout.trim()]
    expect(await runCommand(['lock', 'list', ...asReader])).toMatchObject({ code: 0 })
    for (const args of [
      ['lock', 'app', 'wiki', '--reason', 'r'],
      ['sessions', 'list'],
      ['sessions', 'revoke', '--subject', 'bob'],
    ]) {
      const result = await runCommand([...args, ...asReader])
      expect(result, args.join(' ')).toMatchObject({ code: 2, stdout: '' })
      expect(result.stderr).toContain('403')
    }
    expect(await runCommand(['lock', 'list', '--url', rig.origin('access'), '--token', 'pst_wrong'])).toMatchObject({ code: 2 })
    expect(await statusOf(bob)).toBe(200)
  })

  testOver(way !== 'api', 'explain says that a lock decides, until when and by whom', async () => {
    await command('lock', 'subject', 'bob', '--until', '1h', '--reason', 'under investigation')
    const explained = await runCommand(['explain', 'bob@corp.example', `${rig.origin('app')}/ok`, '--config', config()])
    expect(explained).toMatchObject({ code: 1 })
    expect(explained.stdout).toMatch(/locked: subject bob@corp\.example, until .+Z, by os:.+: under investigation/)
    expect(explained.stdout).toContain('DENY  locked')
    await becomes(bob, 403)
    await waitFor(async () => (await rig.audit()).some((line) => line['reason'] === 'locked' && line['lock'] !== undefined))
    const [line] = (await rig.audit()).filter((one) => one['lock'] !== undefined).slice(-1)
    const again = await runCommand(['explain', String(line?.['request']), '--config', config()])
    expect(again.stdout).toContain('DENY  locked')
    await command('unlock', 'subject', 'bob', '--reason', 'over')
  })
})

describe.each(['embedded', 'redis'] as const)('break-glass with %s, while the provider is down', (store) => {
  let rig: Rig
  beforeAll(async () => {
    rig = await startRig({
      store,
      apps: [
        {
          id: 'app',
          rules: [
            { name: 'staff', allow: { groups: ['staff'] }, paths: ['/ok'] },
            { name: 'emergency', allow: { groups: ['staff'] }, paths: ['/emergency'], when: [{ sign_in: { amr: ['break_glass'] } }] },
          ],
        },
      ],
    })
    await rig.signIn(new Client(), 'bob', `${rig.origin('app')}/ok`)
    await rig.signIn(new Client(), 'carol', `${rig.origin('access')}/`)
    await rig.providerStop()
  })
  afterAll(() => rig?.stop())

  const config = () => join(rig.instance.folder, '..', 'postern-0.yaml')
  const breakGlass = (who: string, ...args: string[]) =>
    runCommand(['break-glass', '--as', who, '--for', '30m', '--reason', 'the provider is down', '--config', config(), ...args])
  const press = (client: Client, url: string, changes: Record<string, string> = {}) =>
    client.send(`${rig.origin('access')}/sign-in`, {
      method: 'POST',
      body: `break_glass=${new URL(url).searchParams.get('break_glass')}`,
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        origin: rig.origin('access'),
        'sec-fetch-site': 'same-origin',
        ...changes,
      },
    })

  test('an address signs one person in, once, and looking at it spends nothing', async () => {
    const issued = await breakGlass('bob@corp.example')
    expect(issued, issued.stderr).toMatchObject({ code: 0 })
    const url = issued.stdout.trim()
    expect(url).toMatch(/\/sign-in\?break_glass=[A-Za-z0-9_-]{43}$/)
    expect(issued.stderr).not.toContain(new URL(url).searchParams.get('break_glass') ?? '-')
    const client = new Client()
    for (let times = 0; times < 3; times++) {
      const page = await new Client().send(url)
      expect(page.status).toBe(200)
      expect(page.body).toContain('Bob Baker')
      expect(page.body).toContain('30 minutes')
      expect(page.header('set-cookie')).toBeUndefined()
    }
    expect((await press(client, url, { 'sec-fetch-site': 'same-site', origin: rig.origin('app') })).status).toBe(403)
    const entered = await press(client, url)
    expect(entered.status).toBe(303)
    expect(entered.header('location')).toBe(`${rig.origin('access')}/`)
    const opened = await client.follow(`${rig.origin('app')}/ok`)
    expect(opened.status).toBe(200)
    expect((await client.follow(`${rig.origin('app')}/emergency`)).status).toBe(200)
    expect((await press(new Client(), url)).status).toBe(400)

    await waitFor(async () =>
      (await rig.audit()).some((line) => line['event'] === 'session.started' && String(line['amr']) === 'break_glass'),
    )
    const lines = await rig.audit()
    expect(lines.filter((line) => line['event'] === 'break_glass.issued')).toMatchObject([
      { actor: expect.stringMatching(/^os:/), sub: 'bob', email: 'bob@corp.example', reason: 'the provider is down' },
    ])
    expect(rig.instance.log()).toContain('"msg":"alert"')
    expect(JSON.stringify([lines, rig.instance.log()])).not.toContain(new URL(url).searchParams.get('break_glass') ?? '-')
  })

  test('nobody who is locked or was never here can be named; a lock set afterwards makes the address worthless', async () => {
    const never = await breakGlass('nobody@corp.example')
    expect(never).toMatchObject({ code: 1, stdout: '' })
    expect(never.stderr).toContain('never signed in')
    const issued = await breakGlass('carol@corp.example')
    expect(issued, issued.stderr).toMatchObject({ code: 0 })
    await runCommand(['lock', 'subject', 'carol@corp.example', '--reason', 'left', '--config', config()])
    expect((await press(new Client(), issued.stdout.trim())).status).toBe(403)
    const locked = await breakGlass('carol@corp.example')
    expect(locked).toMatchObject({ code: 1, stdout: '' })
    expect(locked.stderr).toContain('locked')
    expect(await breakGlass('bob@corp.example', '--for', '5h')).toMatchObject({ code: 2, stdout: '' })
  })
})
