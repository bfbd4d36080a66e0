/** The policy changes under a running instance: a good change counts without a restart, a broken one never does, and both are said. */

import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'

describe('policy reload', () => {
  let rig: Rig
  let client: Client
  const url = () => `${rig.origin('app')}/ok`
  const status = async () => (await client.send(url(), { as: 'fetch' })).status
  const metrics = async () => (await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/metrics`)).body
  const failures = async () => Number(/^postern_policy_load_failures_total (\d+)/m.exec(await metrics())?.[1] ?? 0)

  beforeAll(async () => {
    rig = await startRig()
    client = new Client()
    await rig.signIn(client, 'alice', url())
  })
  afterAll(() => rig.stop())
  beforeEach(async () => {
    await rig.writePolicy(rig.policy)
    await waitFor(async () => (await status()) === 200)
  })

  const denying = () => ({
    apps: (rig.policy['apps'] as Record<string, unknown>[]).map((app) => ({
      ...app,
      rules: [{ name: 'nobody', deny: { everyone: true } }],
    })),
  })

  test('a change of the file counts without a restart', async () => {
    await rig.writePolicy(denying())
    await waitFor(async () => (await status()) === 403)
  })

  test('SIGHUP reloads', async () => {
    await rig.writePolicy(denying())
    process.kill(rig.instance.pid, 'SIGHUP')
    await waitFor(async () => (await status()) === 403)
  })

  for (const [what, broken] of [
    ['a truncated file', '{"apps": [{"id": "app", "url": "http'],
    ['an unknown key', '{"apps": [], "appps": []}'],
    ['an empty file', ''],
    ['not YAML', '{]: ['],
  ] as const) {
    test(`${what} never counts: the previous policy stays, log and metrics say so`, async () => {
      const before = await failures()
      const from = rig.instance.log().length
      await rig.writePolicy(broken)
      await waitFor(async () => (await failures()) > before)
      expect(await status()).toBe(200)
      await waitFor(() => rig.instance.log().slice(from).includes('the changed policy was refused'))
    })
  }

  test('a file written in two halves is judged when it is whole', async () => {
    const text = JSON.stringify(denying(), undefined, 1)
    await rig.writePolicy(text.slice(0, text.length / 2))
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(await status()).toBe(200)
    await rig.writePolicy(text)
    await waitFor(async () => (await status()) === 403)
  })

  test('a broken policy does not start', async () => {
    const file = `${rig.instance.folder}/broken.yaml`
    await writeFile(file, '{"apps": [{"id": "app", "rules": [{"alow": {"everyone": true}}]}]}')
    const configuration = `${rig.instance.folder}/broken-postern.yaml`
    await writeFile(
      configuration,
      JSON.stringify({
        url: rig.origin('access'),
        listen: '127.0.0.1:1',
        provider: { issuer: rig.issuer, client_id: 'x', client_secret: 'rig-client-secret-0123456789abcdef' },
        session: { store: 'embedded' },
        policy: file,
      }),
      { mode: 0o600 },
    )
    const result = await runCommand(['serve', '--config', configuration])
    expect(result.code).toBe(2)
    expect(`${result.stdout}${result.stderr}`).toMatch(/broken\.yaml:1:\d+/)
    expect(`${result.stdout}${result.stderr}`).toContain('allow')
  })
})
