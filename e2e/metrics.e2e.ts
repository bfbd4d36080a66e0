/**
 * A real Prometheus scrapes a real instance while people work with it: every panel of the dashboard has something to show, every alert rule
 * can be evaluated, and what is counted is what happened.
 */

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { findProgram } from './provision.ts'
import { Client } from './support/client.ts'
import { createDeviceAuthority } from './support/device-authority.ts'
import { findFreePort } from './support/free-port.ts'
import { prometheusProgram, startPrometheus, type TestPrometheus } from './support/prometheus.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'
import { type StreamingUpstream, startStreamingUpstream } from './support/streaming-upstream.ts'
import { createTestAuthority, type TestAuthority } from './support/test-authority.ts'

const operations = join(import.meta.dirname, '..', 'docs', 'operations')
const staff = { groups: ['staff'] }

interface Panel {
  readonly title: string
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[]
}
const { panels } = JSON.parse(readFileSync(join(operations, 'dashboard.json'), 'utf8')) as { readonly panels: readonly Panel[] }
/** As Grafana asks with all instances and apps chosen. */
const queries = panels.flatMap(({ targets = [], title }) =>
  targets.map(({ expr, refId }) => ({
    name: `${title} ${refId}`,
    expr: expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(?:instance|app)\b/g, '.*'),
  })),
)

describe.skipIf(prometheusProgram === undefined)('Prometheus', () => {
  let rig: Rig
  let folder: string
  let upstream: StreamingUpstream
  let servers: TestAuthority
  let prometheus: TestPrometheus
  let ca: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-metrics-'))
    upstream = await startStreamingUpstream()
    servers = createTestAuthority()
    ca = readFileSync(servers.file, 'utf8')
    const devices = await createDeviceAuthority()
    const [caFile, crlFile] = [join(folder, 'devices.pem'), join(folder, 'devices.crl')]
    await writeFile(caFile, devices.pem)
    await writeFile(crlFile, await devices.list([], { thisUpdate: Date.now() }))
    const names = ['access', 'app', 'board', 'gone'].map((name) => `DNS:${name}.corp.localhost`)
    const { certFile, keyFile } = servers.issue(names.join(','))
    rig = await startRig({
      scheme: 'https',
      apps: [
        { id: 'app', upstream: upstream.origin, audit: { durability: 'group' }, rules: [{ name: 'staff', allow: staff, alert: true }] },
        { id: 'board', upstream: upstream.origin, rules: [{ name: 'engineering', allow: { groups: ['engineering'] } }] },
        { id: 'gone', upstream: `http://127.0.0.1:${await findFreePort()}`, rules: [{ name: 'staff', allow: staff }] },
      ],
      configuration: {
        tls: [{ cert_file: certFile, key_file: keyFile }],
        client_certificate: { ca_file: caFile, crl_file: crlFile, from: 'listener' },
        audit: { sinks: [{ name: 'copy', type: 'file', path: join(folder, 'copy.ndjson') }] },
      },
    })
    prometheus = await startPrometheus([rig.instance.operationsPort], join(operations, 'alerts.yaml'))
    await waitFor(async () => (await prometheus.query('up{job="postern"} == 1')).length === 1, 20_000)
    // A rate has to see something before as well as after.
    for (const person of ['bob', 'alice']) {
      await work(person)
      await scraped()
    }
  })
  afterAll(async () => {
    await prometheus?.close()
    await rig?.stop()
    await upstream?.close()
    servers?.remove()
    await rm(folder, { recursive: true, force: true })
  })

  /** Resolves once what happened until now has been scraped. */
  async function scraped(): Promise<void> {
    const asked = Date.now() / 1000
    await waitFor(async () => {
      const [last] = await prometheus.query('timestamp(up{job="postern"})')
      return (last?.value ?? 0) > asked
    })
  }

  /** A sign-in, a page, a refusal, an app that is gone, and a WebSocket that is cut when the person is cut off. */
  async function work(person: string): Promise<void> {
    const client = new Client({ ca })
    await waitFor(async () => (await rig.signIn(client, person, `${rig.origin('app')}/ok`)).status === 200, 15_000)
    expect((await client.follow(`${rig.origin('board')}/`)).status).toBe(person === 'alice' ? 200 : 403)
    expect((await client.follow(`${rig.origin('gone')}/`)).status).toBe(502)
    const options = {
      headers: {
        host: `app.corp.localhost:${rig.port}`,
        cookie: client.cookieHeader(rig.origin('app')),
        origin: rig.origin('app'),
      },
      ca,
      servername: 'app.corp.localhost',
    }
    const socket = new WebSocket(`wss://127.0.0.1:${rig.port}/ws`, options)
    socket.on('error', () => undefined)
    await once(socket, 'open')
    const closed = once(socket, 'close')
    const configuration = join(dirname(rig.instance.folder), 'postern-0.yaml')
    const revoked = await runCommand(['sessions', 'revoke', '--subject', `${person}@corp.example`, '--config', configuration])
    expect(revoked.code, revoked.stderr).toBe(0)
    expect((await closed)[0]).toBe(4401)
  }

  const result = async (expression: string) => (await prometheus.query(expression))[0]?.value

  test.each(queries)('has something to show in $name', async ({ expr }) => {
    await waitFor(
      async () => (await prometheus.query(expr)).some(({ value }) => Number.isFinite(value)),
      5_000,
      () => `${expr} has no result`,
    )
  })

  test('can evaluate every alert rule', async () => {
    await waitFor(async () => [...(await prometheus.rules()).values()].every((health) => health === 'ok'), 20_000)
    expect((await prometheus.rules()).size).toBeGreaterThan(20)
  })

  test('is told of the alerts that fire, and of no others', async () => {
    await waitFor(async () => (await prometheus.query('ALERTS{alertname="PosternRuleAlert",alertstate="firing"}')).length === 1, 20_000)
    const critical = await prometheus.query('ALERTS{severity="critical"}')
    expect(critical.map(({ metric }) => metric['alertname'])).toEqual([])
  })

  test('counts what happened', async () => {
    expect(await result('sum(postern_sign_ins_total{outcome="started"})')).toBe(2)
    expect(await result('sum(postern_session_ends_total{cause="revoked"})')).toBe(2)
    expect(await result('sum(postern_requests_total{app="board",effect="deny",reason="no_rule_matched",status_class="4xx"})')).toBe(1)
    expect(await result('sum(postern_requests_total{app="gone",reason="upstream_unreachable",status_class="5xx"})')).toBe(2)
    expect(await result('sum(postern_cuts_total{reason="session_ended"})')).toBe(2)
    expect(await result('sum(postern_revoke_to_cut_seconds_count{trigger="end"})')).toBe(2)
    expect(await result('sum(postern_store_errors_total)')).toBe(0)
    // Two pages and two WebSockets of which only the first answered by an app, but all were forwarded.
    const overhead = await result('sum(postern_request_overhead_seconds_sum{effect="allow"})')
    const duration = await result('sum(postern_request_duration_seconds_sum{effect="allow"})')
    expect(overhead).toBeGreaterThan(0)
    expect(overhead).toBeLessThan(duration ?? 0)
  })

  test('sees the trail, its receiver and its lock-step with the disk', async () => {
    const lines = (await rig.audit()).length
    expect(await result('postern_audit_lines_total')).toBeGreaterThanOrEqual(10)
    expect(lines).toBeGreaterThanOrEqual(10)
    expect(await result('postern_audit_fsync_duration_seconds_count')).toBeGreaterThan(0)
    await waitFor(async () => (await result('postern_audit_sink_lag_lines{sink="copy"}')) === 0, 20_000)
    expect(await result('postern_audit_sink_lines_total{sink="copy",outcome="sent"}')).toBeGreaterThanOrEqual(10)
    await waitFor(async () => ((await result('time() - postern_audit_checkpoint_timestamp_seconds')) ?? 1e9) < 60, 20_000)
  })

  test('knows when certificates and lists run out, and how old the keys are', async () => {
    const days = (seconds: number | undefined) => (seconds ?? 0) / 86_400
    expect(days(await result('postern_certificate_expiry_timestamp_seconds{use="listener"} - time()'))).toBeCloseTo(2, 1)
    expect(days(await result('postern_certificate_expiry_timestamp_seconds{use="client_authority"} - time()'))).toBeGreaterThan(0)
    expect(days(await result('postern_revocation_list_expiry_timestamp_seconds - time()'))).toBeGreaterThan(0)
    for (const family of ['sealing', 'assertion', 'audit'])
      expect(await result(`time() - postern_key_created_timestamp_seconds{family="${family}"}`)).toBeLessThan(300)
  })

  test('finds nothing in the real output that is against the conventions', async () => {
    const { body } = await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/metrics`)
    const promtool = findProgram(['promtool'])
    if (promtool === undefined) return
    const { status, stderr, stdout } = spawnSync(promtool, ['check', 'metrics'], { input: body, encoding: 'utf8' })
    expect([status, `${stdout}${stderr}`]).toEqual([0, ''])
  })

  test('readiness warns of policy files that are not in force, stays ready, and warns no more once they are', async () => {
    const readiness = async () => {
      const { body, status } = await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/readyz`)
      return { status, warnings: (JSON.parse(body) as { readonly warnings: Readonly<Record<string, string>> }).warnings }
    }
    expect(await readiness()).toEqual({ status: 200, warnings: {} })
    await rig.writePolicy({ ...rig.policy, apps: 'none' })
    await waitFor(async () => (await readiness()).warnings['policy'] !== undefined)
    expect((await readiness()).status).toBe(200)
    await waitFor(async () => (await result('postern_policy_files_in_force')) === 0)
    await rig.writePolicy(rig.policy)
    await waitFor(async () => (await readiness()).warnings['policy'] === undefined)
    await waitFor(async () => (await result('postern_policy_files_in_force')) === 1)
  })
})
