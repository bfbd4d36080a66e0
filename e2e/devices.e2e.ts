/**
 * Devices from end to end: registered at the command line of a running instance, reporting by the reference client, by the script for
 * Linux machines and by a management system, and what that opens and closes for a person who is already signed in.
 */

import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'

const linux = join(import.meta.dirname, '..', 'config', 'devices', 'linux')

describe('devices', () => {
  let rig: Rig
  let folder: string
  let config: string
  let browser: Client

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-devices-'))
    rig = await startRig({
      // The demo's provider says nothing of devices: here everybody has the one that is called as they are.
      provider: { claims: { groups: ['groups'], device_id: 'sub' } },
      apps: [
        {
          id: 'app',
          rules: [
            { name: 'staff', allow: { groups: ['staff'] }, when: [{ device: { known: true, disk_encrypted: true, os: ['linux'] } }] },
          ],
        },
        { id: 'wiki', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
      ],
    })
    config = join(rig.instance.folder, '..', 'postern-0.yaml')
    browser = new Client()
    await rig.signIn(browser, 'bob', `${rig.origin('app')}/ok`)
  })
  afterAll(async () => {
    await rig?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const device = (...args: string[]) => runCommand(['device', ...args, '--config', config])
  const list = async () =>
    (await device('list', '--json')).stdout
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  const find = async (id: string) => (await list()).find((one) => one['id'] === id)
  const status = async () => (await browser.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).status
  const becomes = (wanted: number) =>
    waitFor(
      async () => (await status()) === wanted,
      8000,
      () => `the app never answered ${wanted}`,
    )

  /** A key pair in files. */
  async function keyFiles(name: string, kind: 'ed25519' | 'ec') {
    const { privateKey, publicKey } =
      kind === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const files = { key: join(folder, `${name}.key`), publicKey: join(folder, `${name}.pub`) }
    await writeFile(files.key, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    await writeFile(files.publicKey, publicKey.export({ type: 'spki', format: 'pem' }))
    return files
  }

  test('a report opens and closes the app for a session that goes on, and a block closes it for good', async () => {
    expect(await status()).toBe(403)
    const { key, publicKey } = await keyFiles('bob', 'ed25519')
    expect(
      await device('register', 'bob', '--serial', 'C02X', '--owner', 'bob@corp.example', '--tag', 'staff', '--public-key', publicKey),
    ).toMatchObject({
      code: 0,
      stderr: '',
    })
    const submit = (...settings: string[]) => device('submit', 'bob', '--key', key, ...settings.flatMap((setting) => ['--set', setting]))

    expect(await submit('disk_encrypted=false', 'os=linux', 'os_version=6.1')).toMatchObject({ code: 0 })
    await waitFor(async () => (await browser.send(`${rig.origin('app')}/ok`, { as: 'fetch' })).body.includes('disk_not_encrypted'), 8000)
    expect(await status()).toBe(403)
    expect(await submit('disk_encrypted=true')).toMatchObject({ code: 0 })
    await becomes(200)
    expect(await submit('disk_encrypted=false')).toMatchObject({ code: 0 })
    await becomes(403)
    expect(await submit('disk_encrypted=true', 'ring=pilot')).toMatchObject({ code: 0 })
    await becomes(200)
    expect(await find('bob')).toMatchObject({
      status: 'active',
      serial: 'C02X',
      owner: 'bob@corp.example',
      tags: ['staff'],
      key: { algorithm: 'EdDSA' },
      attributes: { disk_encrypted: { value: true, source: 'report' }, ring: { value: 'pilot', source: 'report' } },
    })

    expect(await device('block', 'bob', '--reason', 'lost on a train')).toMatchObject({ code: 0 })
    // The session that it identifies has ended; and it is locked at every app, also where no rule asks for a device.
    await becomes(401)
    for (const app of ['app', 'wiki']) {
      const again = await rig.signIn(browser, 'bob', `${rig.origin(app)}/ok`)
      expect([again.status, again.header('x-postern')]).toEqual([403, 'locked'])
    }
    const refused = await submit('disk_encrypted=true')
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('device_blocked')])
    expect((await device('list')).stdout).toContain('blocked (lost on a train)')
    expect(await device('unblock', 'bob')).toMatchObject({ code: 0 })
    await becomes(200)
    expect(await device('remove', 'bob')).toMatchObject({ code: 0 })
    await becomes(403)

    const events = (await rig.audit())
      .filter((line) => line['device'] === 'bob' && String(line['event']).startsWith('device.'))
      .map((line) => [line['event'], line['actor']])
    const admin = expect.stringMatching(/^os:.+@.+/)
    expect(events).toEqual([
      ['device.registered', admin],
      ...['false', 'true', 'false', 'true'].map(() => ['device.reported', 'device:bob']),
      ['device.blocked', admin],
      ['device.unblocked', admin],
      ['device.removed', admin],
    ])
  })

  test('a list is imported whole or not at all, with every problem and its line', async () => {
    const { publicKey } = await keyFiles('listed', 'ec')
    const file = join(folder, 'devices.csv')
    await writeFile(file, `id,serial,public_key_file\nl1,S1,listed.pub\nL 2,S2,\nl3,s1,\nl4,,missing.pub\n`)
    const refused = await device('import', file)
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    for (const words of ['devices.csv:3: ', 'devices.csv:5: ', 'ENOENT']) expect(refused.stderr).toContain(words)
    await writeFile(file, `id,serial,public_key_file,attribute.ring\nl1,S1,${publicKey},pilot\nl2,S2,,\nl3,s1,,\n`)
    const clash = await device('import', file)
    expect([clash.code, clash.stderr]).toEqual([1, expect.stringContaining('devices.csv:4: the serial number s1 stands in line 2 as well')])
    expect(await find('l1')).toBeUndefined()
    await writeFile(file, `id,serial,public_key_file,attribute.ring\nl1,S1,${publicKey},pilot\nl2,S2,,\n`)
    expect(await device('import', file)).toMatchObject({ code: 0, stdout: 'Imported 2 devices; 0 were there already.\n' })
    expect(await device('import', file)).toMatchObject({ code: 0, stdout: 'Imported 0 devices; 2 were there already.\n' })
    expect(await find('l1')).toMatchObject({ attributes: { ring: { value: 'pilot', source: 'inventory' } }, key: { algorithm: 'ES256' } })
  })

  test.each([
    ['an id that cannot be', ['register', 'Lap Top'], 1],
    ['an attribute without a value', ['register', 'a', '--attribute', 'ring'], 2],
    ['a file that is not there', ['register', 'a', '--public-key', '/nowhere'], 2],
    ['no reason', ['block', 'a'], 2],
    ['nobody to block', ['block', 'nobody', '--reason', 'x'], 1],
    ['nobody to remove', ['remove', 'nobody'], 1],
    ['a report with no key', ['submit', 'a'], 2],
  ])('%s ends with its status, in one line and no stack', async (_what, args, code) => {
    const result = await device(...args)
    expect(result.code).toBe(code)
    expect(result.stderr).not.toMatch(/\n\s+at /)
  })

  test('a management system reports with a token, and a late good word does not stand over a newer bad one', async () => {
    await device('register', 'mdm-1')
    const token = (await runCommand(['token', 'create', '--name', 'MDM', '--scope', 'devices:report', '--config', config])).stdout.trim()
    const report = async (at: Date, isEncrypted: boolean) => {
      const answer = await new Client().send(`${rig.origin('access')}/api/v1/devices/mdm-1/reports`, {
        as: 'fetch',
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ observed_at: at.toISOString(), posture: { disk_encrypted: isEncrypted } }),
      })
      return answer.status
    }
    const now = Date.now()
    expect(await report(new Date(now - 10_000), false)).toBe(200)
    expect(await report(new Date(now - 20_000), true)).toBe(409)
    expect(await find('mdm-1')).toMatchObject({ attributes: { disk_encrypted: { value: false, source: 'management' } } })
    await runCommand(['token', 'revoke', token, '--config', config])
    await waitFor(async () => (await report(new Date(), true)) === 401, 8000)
  })

  describe('the script for Linux', () => {
    /** The machine that the script sees: tools of the system that answer as one would. */
    async function machine(name: string, tools: Readonly<Record<string, string>>) {
      const bin = join(folder, name)
      await mkdir(bin, { recursive: true })
      for (const [tool, text] of Object.entries(tools)) {
        await writeFile(join(bin, tool), `#!/bin/sh\n${text}\n`)
        await chmod(join(bin, tool), 0o755)
      }
      const release = join(bin, 'os-release')
      await writeFile(release, 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n')
      await writeFile(join(bin, 'serial'), `PF-3X ${name}\n`)
      const file = join(bin, 'report.conf')
      const settings = {
        ACCESS_URL: rig.origin('access'),
        DEVICE_ID: name,
        KEY_FILE: join(bin, 'report.key'),
        OS_RELEASE: release,
        SERIAL_FILE: join(bin, 'serial'),
      }
      await writeFile(
        file,
        Object.entries(settings)
          .map(([key, value]) => `${key}='${value}'\n`)
          .join(''),
      )
      const run = (...args: string[]) =>
        new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
          const environment = { PATH: `${bin}:/usr/bin:/bin`, POSTERN_REPORT_CONFIG: file, NO_PROXY: '*' }
          execFile('/bin/sh', [join(linux, 'postern-report'), ...args], { env: environment }, (error, stdout, stderr) =>
            resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
          )
        })
      return { run, keyFile: settings.KEY_FILE, bin }
    }

    const luks = {
      findmnt: 'case "$*" in *FSTYPE*) echo ext4 ;; *) echo /dev/mapper/root ;; esac',
      lsblk: 'printf "lvm\\ncrypt\\npart\\ndisk\\n"',
      nft: 'echo "  type filter hook input priority filter; policy drop;"',
      ufw: 'echo "Status: inactive"',
      'firewall-cmd': 'exit 1',
      iptables: 'exit 1',
      loginctl: 'exit 1',
    }

    async function enrol(name: string, tools: Readonly<Record<string, string>>, kind: 'ed25519' | 'ec' = 'ed25519') {
      const made = await machine(name, tools)
      if (kind === 'ec')
        await writeFile(
          made.keyFile,
          generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
        )
      const init = await made.run('--init')
      expect(init).toMatchObject({ code: 0, stderr: '' })
      const file = join(made.bin, 'report.pub')
      await writeFile(file, init.stdout)
      expect(await device('register', name, '--serial', `pf-3x${name}`, '--public-key', file)).toMatchObject({ code: 0 })
      return made
    }

    test.each(['ed25519', 'ec'] as const)(
      'reports an encrypted machine behind a firewall, signed with a key of the kind %s',
      async (kind) => {
        const { run } = await enrol(`linux-${kind}`, luks, kind)
        // A number of 31 bytes in an ECDSA signature comes about once in 128 times: it has to be padded.
        for (let round = 0; round < (kind === 'ec' ? 3 : 1); round += 1) {
          const from = Date.now()
          await waitFor(() => Math.floor(Date.now() / 1000) > Math.floor(from / 1000))
          expect(await run()).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('"accepted"') })
        }
        expect(await find(`linux-${kind}`)).toMatchObject({
          attributes: {
            disk_encrypted: { value: true, source: 'report' },
            firewall: { value: true },
            os: { value: 'linux' },
            os_version: { value: expect.stringMatching(/^\d+\.\d+/) },
            distribution: { value: 'debian' },
            distribution_version: { value: '12' },
            serial: { value: `PF-3Xlinux-${kind}` },
          },
        })
      },
    )

    test('says what is not so, and leaves out what it cannot tell', async () => {
      const { run } = await machine('plain', { ...luks, lsblk: 'printf "part\\ndisk\\n"', nft: 'echo "policy accept;"' })
      const open = JSON.parse((await run('--dry-run')).stdout) as { posture: object }
      expect(open.posture).toMatchObject({ disk_encrypted: false, firewall: false })
      expect(open.posture).not.toHaveProperty('screen_lock')
      expect(open.posture).not.toHaveProperty('managed')
      const blind = await machine('blind', {
        ...luks,
        lsblk: 'exit 1',
        nft: 'exit 1',
        ufw: 'exit 1',
        'firewall-cmd': 'exit 1',
        iptables: 'exit 1',
      })
      expect((JSON.parse((await blind.run('--dry-run')).stdout) as { posture: object }).posture).not.toHaveProperty('disk_encrypted')
    })

    test('is refused with the key of another machine, and could not run with none or no address', async () => {
      const { run, keyFile, bin } = await enrol('linux-other', luks)
      await writeFile(keyFile, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }))
      expect(await run()).toMatchObject({ code: 1, stdout: expect.stringContaining('not_verified') })
      await rm(keyFile)
      expect(await run()).toMatchObject({ code: 2, stderr: expect.stringContaining('holds no private key') })
      await writeFile(join(bin, 'report.conf'), "ACCESS_URL='http://access.corp.example'\nDEVICE_ID='x'\n")
      expect(await run('--dry-run')).toMatchObject({ code: 2, stderr: expect.stringContaining('not an https:// address') })
    })

    test('runs from units that name it', async () => {
      const [service, timer] = await Promise.all(
        ['postern-report.service', 'postern-report.timer'].map((name) => readFile(join(linux, name), 'utf8')),
      )
      expect(service).toMatch(/^ExecStart=\/usr\/local\/sbin\/postern-report$/m)
      expect(timer).toMatch(/^WantedBy=timers\.target$/m)
    })
  })
})
