/**
 * The recipes of docs/devices.md as they are printed: the scripts for Intune and Jamf Pro against servers that answer as those do, into the
 * inventory of a running instance.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Rig, runCommand, startRig } from './support/rig.ts'

const recipes = join(import.meta.dirname, '..', 'config', 'devices')

/** Node asks the system for `*.localhost`, and the system may not know it. */
const loopbackNames = `data:text/javascript,${encodeURIComponent(`
import dns from 'node:dns'
const lookup = dns.lookup
dns.lookup = (name, ...rest) => lookup(name.endsWith('.localhost') ? '127.0.0.1' : name, ...rest)
`)}`

interface Asked {
  readonly path: string
  readonly authorization: string | undefined
  readonly body: string
}

/** A service in the cloud, as far as the scripts ask it. */
async function startCloud(answer: (asked: Asked, origin: string) => unknown) {
  const asked: Asked[] = []
  let throttled = false
  const server: Server = createServer((request, response) => {
    readBody(request).then(
      (body) => {
        const one = { path: request.url ?? '', authorization: request.headers.authorization, body }
        asked.push(one)
        // Both services throttle; a script that gives up then reports on nobody.
        if (!throttled && one.authorization !== undefined) {
          throttled = true
          response.writeHead(429, { 'retry-after': '1' }).end()
          return
        }
        const found = answer(one, originOf(server))
        response.writeHead(found === undefined ? 401 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(found ?? {}))
      },
      () => response.destroy(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: originOf(server),
    asked,
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}

describe('the recipe', () => {
  let rig: Rig
  let folder: string
  let config: string
  let token: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-recipes-'))
    rig = await startRig()
    config = join(rig.instance.folder, '..', 'postern-0.yaml')
    token = (await runCommand(['token', 'create', '--name', 'MDM', '--scope', 'devices:report', '--config', config])).stdout.trim()
  })
  afterAll(async () => {
    await rig?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const run = (script: string, environment: Readonly<Record<string, string>>, ...args: string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const env = {
        PATH: process.env['PATH'] ?? '',
        CLIENT_ID: 'id',
        CLIENT_SECRET: 'secret',
        POSTERN_URL: rig.origin('access'),
        ...environment,
      }
      execFile(process.execPath, ['--import', loopbackNames, join(recipes, script), ...args], { env }, (error, stdout, stderr) =>
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
      )
    })

  async function importList(text: string) {
    const file = join(folder, 'devices.csv')
    await writeFile(file, text)
    return await runCommand(['device', 'import', file, '--config', config])
  }

  async function find(id: string): Promise<Record<string, unknown> | undefined> {
    const { stdout } = await runCommand(['device', 'list', '--json', '--config', config])
    const all = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    return all.find((one) => one['id'] === id)
  }

  test('for Intune lists every device with an Entra id, page by page, and reports what Intune knows of it', async () => {
    const at = new Date(Date.now() - 3_600_000).toISOString()
    const common = { managementAgent: 'mdm', lastSyncDateTime: at, userPrincipalName: 'bob@corp.example' }
    const laptop = {
      ...common,
      azureADDeviceId: '11111111-AAAA-4bbb-8ccc-000000000001',
      serialNumber: 'PF1',
      deviceName: 'LAPTOP, one',
      operatingSystem: 'Windows',
      osVersion: '10.0.22631.4460',
      isEncrypted: true,
      complianceState: 'compliant',
    }
    const phone = {
      ...common,
      azureADDeviceId: '11111111-aaaa-4bbb-8ccc-000000000002',
      serialNumber: '0',
      deviceName: 'Phone',
      operatingSystem: 'iPadOS',
      osVersion: '17.5',
      isEncrypted: false,
      complianceState: 'noncompliant',
    }
    const nobody = { ...common, azureADDeviceId: '00000000-0000-0000-0000-000000000000', serialNumber: 'X', operatingSystem: 'Windows' }
    const cloud = await startCloud(({ path, authorization, body }, origin) => {
      if (path === '/tenant/oauth2/v2.0/token')
        return body.includes('client_secret=secret') && body.includes('grant_type=client_credentials')
          ? { access_token: 'graph-token' }
          : undefined
      if (authorization !== 'Bearer graph-token' || !path.startsWith('/v1.0/deviceManagement/managedDevices?')) return undefined
      return path.includes('page=2')
        ? { value: [phone, nobody] }
        : { value: [laptop], '@odata.nextLink': `${origin}/v1.0/deviceManagement/managedDevices?page=2` }
    })
    const environment = { TENANT_ID: 'tenant', LOGIN_URL: cloud.origin, GRAPH_URL: cloud.origin, POSTERN_TOKEN: token }
    const list = await run('intune/push-posture.mjs', environment, '--csv')
    expect(list).toMatchObject({ code: 0, stderr: '' })
    expect(await importList(list.stdout)).toMatchObject({ code: 0, stdout: expect.stringContaining('Imported 2 devices') })
    expect(await run('intune/push-posture.mjs', environment)).toEqual({
      code: 0,
      stdout: 'push-posture: 2 devices, 0 refused\n',
      stderr: '',
    })
    // Again, as a schedule does: nothing is new, and nothing is wrong.
    expect(await run('intune/push-posture.mjs', environment)).toMatchObject({ code: 0 })
    await cloud.close()

    expect(await find('11111111-aaaa-4bbb-8ccc-000000000001')).toMatchObject({
      serial: 'PF1',
      name: 'LAPTOP, one',
      owner: 'bob@corp.example',
      sans: ['11111111-aaaa-4bbb-8ccc-000000000001'],
      attributes: {
        managed: { value: true, source: 'management', at },
        disk_encrypted: { value: true },
        os: { value: 'windows' },
        os_version: { value: '10.0.22631.4460' },
        compliance: { value: 'compliant' },
      },
    })
    expect(await find('11111111-aaaa-4bbb-8ccc-000000000002')).toMatchObject({
      serial: null,
      attributes: { disk_encrypted: { value: false }, os: { value: 'ios' }, compliance: { value: 'noncompliant' } },
    })
    expect(await run('intune/push-posture.mjs', { ...environment, POSTERN_TOKEN: 'pst_wrong' })).toMatchObject({ code: 2 })
  })

  test('for Intune follows no page to somewhere else with the token of this tenant', async () => {
    const elsewhere = await startCloud(() => ({ value: [] }))
    const cloud = await startCloud(({ path }) =>
      path.includes('token')
        ? { access_token: 't' }
        : { value: [], '@odata.nextLink': `${elsewhere.origin}/v1.0/deviceManagement/managedDevices` },
    )
    const environment = { TENANT_ID: 'tenant', LOGIN_URL: cloud.origin, GRAPH_URL: cloud.origin, POSTERN_TOKEN: token }
    expect(await run('intune/push-posture.mjs', environment, '--csv')).toMatchObject({ code: 2, stdout: '' })
    expect(elsewhere.asked).toEqual([])
    await Promise.all([cloud.close(), elsewhere.close()])
  })

  test('for Jamf Pro reports FileVault only when it is finished, and what an extension attribute adds', async () => {
    const at = new Date(Date.now() - 3_600_000).toISOString()
    const mac = (udid: string, serialNumber: string, state: string, lock: string) => ({
      udid,
      general: { name: `Mac ${serialNumber}`, reportDate: at, remoteManagement: { managed: true } },
      hardware: { serialNumber },
      operatingSystem: { name: 'macOS', version: '14.5' },
      diskEncryption: { bootPartitionEncryptionDetails: { partitionFileVault2State: state } },
      security: { firewallEnabled: true, sipStatus: 'ENABLED' },
      userAndLocation: { email: 'carol@corp.example' },
      extensionAttributes: [{ name: 'Screen lock', values: [lock] }],
    })
    const macs = [
      mac('A0000000-0000-1000-8000-000000000001', 'C02A', 'ENCRYPTED', 'true'),
      mac('A0000000-0000-1000-8000-000000000002', 'C02B', 'ENCRYPTING', ''),
    ]
    const cloud = await startCloud(({ path, authorization, body }) => {
      if (path === '/api/oauth/token') return body.includes('client_secret=secret') ? { access_token: 'jamf-token' } : undefined
      if (
        authorization !== 'Bearer jamf-token' ||
        !path.startsWith('/api/v1/computers-inventory?') ||
        !path.includes('section=DISK_ENCRYPTION')
      )
        return undefined
      return { totalCount: macs.length, results: macs }
    })
    const environment = { JAMF_URL: cloud.origin, SCREEN_LOCK_ATTRIBUTE: 'Screen lock', POSTERN_TOKEN: token }
    const list = await run('jamf/push-posture.mjs', environment, '--csv')
    expect(list).toMatchObject({ code: 0, stderr: '' })
    expect(await importList(list.stdout)).toMatchObject({ code: 0 })
    expect(await run('jamf/push-posture.mjs', environment)).toEqual({ code: 0, stdout: 'push-posture: 2 Macs, 0 refused\n', stderr: '' })
    await cloud.close()

    const attributes = {
      managed: { value: true },
      firewall: { value: true },
      os: { value: 'macos' },
      os_version: { value: '14.5' },
      sip: { value: 'enabled' },
    }
    expect(await find('a0000000-0000-1000-8000-000000000001')).toMatchObject({
      serial: 'C02A',
      owner: 'carol@corp.example',
      attributes: { ...attributes, disk_encrypted: { value: true, source: 'management', at }, screen_lock: { value: true } },
    })
    const second = await find('a0000000-0000-1000-8000-000000000002')
    expect(second).toMatchObject({ attributes: { ...attributes, disk_encrypted: { value: false } } })
    expect(second?.['attributes']).not.toHaveProperty('screen_lock')
  })

  test('says which devices were refused, and that not all were accepted', async () => {
    const stranger = {
      azureADDeviceId: '22222222-aaaa-4bbb-8ccc-000000000009',
      deviceName: 'Stranger',
      operatingSystem: 'Windows',
      isEncrypted: true,
      managementAgent: 'mdm',
      lastSyncDateTime: new Date().toISOString(),
    }
    const cloud = await startCloud(({ path }) => (path.includes('token') ? { access_token: 't' } : { value: [stranger] }))
    const environment = { TENANT_ID: 'tenant', LOGIN_URL: cloud.origin, GRAPH_URL: cloud.origin, POSTERN_TOKEN: token }
    const pushed = await run('intune/push-posture.mjs', environment)
    await cloud.close()
    expect(pushed).toMatchObject({ code: 1, stderr: expect.stringContaining('unknown_device') })
  })
})
