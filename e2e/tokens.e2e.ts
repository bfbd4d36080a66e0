/**
 * Service tokens by command, on systems that run: over Redis directly, over the control socket of an instance with the embedded store,
 * and on its file while nothing runs.
 */

import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'

type Line = Readonly<Record<string, unknown>>

describe.each(['embedded', 'redis'] as const)('service tokens by command, on a running system with %s', (store) => {
  let rig: Rig
  beforeAll(async () => {
    rig = await startRig({ store })
  })
  afterAll(() => rig?.stop())

  const config = () => join(rig.instance.folder, '..', 'postern-0.yaml')
  const token = (...args: string[]) => runCommand(['token', ...args, '--config', config()])
  async function list(): Promise<readonly Line[]> {
    const { code, stdout, stderr } = await token('list', '--json')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line)
  }
  const events = async (event: string) => (await rig.audit()).filter((line) => line['event'] === event)

  test('create prints the token alone on standard output; list shows it without its secret; revoke ends it', async () => {
    const created = await token(
      'create',
      '--name',
      'Intune',
      '--scope',
      'devices:report',
      '--scope',
      'devices:report:tag=mobile',
      '--expires',
      '30d',
    )
    expect(created.code, created.stderr).toBe(0)
    expect(created.stdout).toMatch(/^pst_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}\n$/)
    const [, id = '', secret = ''] = created.stdout.trim().split('_')
    expect(created.stderr).toContain(id)
    expect(created.stderr).not.toContain(secret)

    const [listed] = await list()
    expect(listed).toMatchObject({ id, name: 'Intune', state: 'active', scopes: ['devices:report', 'devices:report:tag=mobile'] })
    expect(listed?.['created_by']).toMatch(/^os:.+@.+/)
    expect(Date.parse(String(listed?.['expires_at'])) - Date.parse(String(listed?.['created_at']))).toBe(30 * 86_400_000)
    expect((await token('list')).stdout).toContain('Intune')

    const revoked = await token('revoke', created.stdout.trim())
    expect(revoked).toMatchObject({ code: 0, stdout: `Token ${id} is revoked.\n` })
    expect((await list())[0]).toMatchObject({ id, state: 'revoked' })
    expect(await token('revoke', id)).toMatchObject({ code: 0, stdout: `Token ${id} was revoked before.\n` })
    expect(await token('revoke', '000000000000')).toMatchObject({ code: 1 })

    await waitFor(async () => (await events('token.revoked')).length === 1)
    const actor = listed?.['created_by']
    expect(await events('token.created')).toMatchObject([{ actor, token: id, name: 'Intune', expires_at: listed?.['expires_at'] }])
    expect(await events('token.revoked')).toMatchObject([{ actor, token: id, name: 'Intune' }])
    expect(JSON.stringify([await rig.audit(), rig.instance.log()])).not.toContain(secret)
  })

  test('the trail of the instance holds what came over its socket; a command that needs no instance writes its own', () => {
    const trails = readdirSync(join(rig.instance.folder, 'audit'))
    const own = trails.filter((name) => name.endsWith('-command'))
    expect(own).toHaveLength(store === 'redis' ? 1 : 0)
    for (const name of own) expect(statSync(join(rig.instance.folder, 'audit', name)).mode & 0o077).toBe(0)
  })

  // What is refused is refused before a store is asked, so one of the two is enough.
  const refused: [string[], string][] = [
    [['create', '--name', 'x'], '--scope'],
    [['create', '--scope', 'devices:report'], '--name'],
    [['create', '--name', 'x', '--scope', 'everything'], 'devices:report'],
    [['create', '--name', 'x', '--scope', 'devices:report', '--expires', '401d'], 'longer than 400d'],
    [['create', '--name', 'x', '--scope', 'devices:report', '--expires', 'soon'], 'not a duration'],
    [['create', '--name', 'a\nb', '--scope', 'devices:report'], 'control character'],
    [['revoke', '../../x'], '12 letters'],
  ]
  test.each(store === 'redis' ? [] : refused)('refuses %j with status 2 and a reason', async (args, reason) => {
    const before = await list()
    const result = await token(...args)
    expect(result.code).toBe(2)
    expect(result.stdout).toBe('')
    expect(result.stderr).toContain(reason)
    expect(await list()).toEqual(before)
  })

  test('tokens outlive a rotation of the keys and a restart with the old ones gone', async () => {
    const created = await token('create', '--name', 'Jamf', '--scope', 'devices:report')
    const id = created.stdout.split('_')[1]
    const rotated = await runCommand(['keys', 'rotate', '--sealing', '--config', config()])
    expect(rotated, rotated.stderr).toMatchObject({ code: 0, stderr: '' })
    await rig.instance.stop()
    const file = join(rig.instance.folder, '..', 'keys.json')
    const keys = JSON.parse(readFileSync(file, 'utf8')) as { sealing: { retired: unknown[] } }
    expect(keys.sealing.retired).toHaveLength(1)
    writeFileSync(file, JSON.stringify({ ...keys, sealing: { ...keys.sealing, retired: [] } }))
    await rig.instance.start()
    expect((await list()).find((line) => line['id'] === id)).toMatchObject({ name: 'Jamf', state: 'active' })
    expect(rig.instance.log()).not.toContain('does not open')
  })

  test('with nothing running, commands still work: on the file, or on Redis', async () => {
    await rig.instance.stop()
    const created = await token('create', '--name', 'offline', '--scope', 'devices:report:id=laptop-7')
    expect(created.code, created.stderr).toBe(0)
    const id = created.stdout.split('_')[1]
    const own = readdirSync(join(rig.instance.folder, 'audit')).filter((name) => name.endsWith('-command'))
    expect(own.length).toBeGreaterThan(0)
    await rig.instance.start()
    expect((await list()).find((line) => line['id'] === id)).toMatchObject({ name: 'offline', scopes: ['devices:report:id=laptop-7'] })
    expect((await events('token.created')).filter((line) => line['token'] === id)).toHaveLength(1)
  })
})

describe('the control socket of an instance', () => {
  let rig: Rig
  beforeAll(async () => {
    rig = await startRig({ store: 'embedded' })
  })
  afterAll(() => rig?.stop())
  const list = () => runCommand(['token', 'list', '--json', '--config', join(rig.instance.folder, '..', 'postern-0.yaml')])
  const socket = () => join(rig.instance.folder, 'control.sock')

  test('is for its owner alone while it runs, and is gone after it stopped', async () => {
    expect(statSync(socket()).mode & 0o777).toBe(0o600)
    await rig.instance.stop()
    expect(readdirSync(rig.instance.folder)).not.toContain('control.sock')
    await rig.instance.start()
  })

  test('that a killed instance left behind stops neither a command nor the next start', async () => {
    await rig.instance.stop('SIGKILL')
    expect(statSync(socket()).isSocket()).toBe(true)
    expect(await list()).toMatchObject({ code: 0 })
    await rig.instance.start()
    expect(await list()).toMatchObject({ code: 0 })
  })

  test('that nobody can reach while the store is in use ends a command with status 2 and both names', async () => {
    await rig.instance.stop()
    await rig.instance.start()
    rmSync(socket())
    const result = await list()
    expect(result.code).toBe(2)
    expect(result.stderr).toContain('store.sqlite: another process has the session store open')
    expect(result.stderr).toContain('control.sock')
    expect(result.stdout).toBe('')
  })

  test('is needed by no command where the configuration has problems: which store it meant would be a guess', async () => {
    const folder = join(rig.instance.folder, 'broken')
    mkdirSync(folder)
    const file = join(folder, 'postern.yaml')
    writeFileSync(file, 'url: https://access.corp.example\ndata_dri: data\n')
    const result = await runCommand(['token', 'create', '--name', 'x', '--scope', 'devices:report', '--config', file])
    expect(result).toMatchObject({ code: 2, stdout: '' })
    expect(result.stderr).toContain('data_dri')
    expect(readdirSync(folder)).toEqual(['postern.yaml'])
  })
})
