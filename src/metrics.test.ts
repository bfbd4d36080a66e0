/** The text at /metrics: names by convention, series bounded whatever is observed. */

import { afterEach, describe, expect, it } from 'vitest'
import { countEvent, measureStore, usageNumbers } from './compose-metrics.ts'
import { createMetrics, type MetricSources, type Metrics } from './metrics.ts'
import { openEmbeddedPlace } from './session/session.fixture.ts'

let metrics: Metrics | undefined
afterEach(() => metrics?.close())

const sources: MetricSources = {
  openConnections: () => 3,
  openExchanges: () => 2,
  newsAgeMs: () => 1500,
  isAuditWritable: () => true,
  isProviderReady: () => false,
}

function create() {
  metrics = createMetrics(sources)
  return metrics
}

const request = { app: 'wiki', effect: 'allow', reason: 'rule_matched', status: 200, seconds: 0.002 } as const

describe('metrics', () => {
  it('count requests by app, effect, reason and class of status', async () => {
    const all = create()
    all.observeRequest(request)
    all.observeRequest({ ...request, status: 204 })
    all.observeRequest({ ...request, app: undefined, effect: 'deny', reason: 'app_not_found', status: 404 })
    all.observeRequest({ ...request, status: 0 })
    const text = await all.text()
    expect(text).toContain('postern_requests_total{app="wiki",effect="allow",reason="rule_matched",status_class="2xx"} 2')
    expect(text).toContain('postern_requests_total{app="",effect="deny",reason="app_not_found",status_class="4xx"} 1')
    expect(text).toContain('status_class="none"} 1')
    expect(text).toContain('postern_request_duration_seconds_bucket{le="0.0025",effect="allow"} 3')
  })

  it('name one policy version at a time', async () => {
    const all = create()
    all.setPolicy('sha256-a', 1_700_000_000_000)
    all.setPolicy('sha256-b', 1_700_000_001_500)
    all.countPolicyLoadFailure()
    const text = await all.text()
    expect(text).toContain('postern_policy_info{version="sha256-b"} 1')
    expect(text).not.toContain('sha256-a')
    expect(text).toContain('postern_policy_last_success_timestamp_seconds 1700000001.5')
    expect(text).toContain('postern_policy_load_failures_total 1')
  })

  it('read numbers that live elsewhere when they are asked for, and survive one that is not there yet', async () => {
    const text = await create().text()
    expect(text).toContain('postern_open_connections 3')
    expect(text).toContain('postern_open_exchanges 2')
    expect(text).toContain('postern_news_age_seconds 1.5')
    expect(text).toContain('postern_audit_writable 1')
    expect(text).toContain('postern_provider_ready 0')
    metrics?.close()
    metrics = createMetrics({
      openExchanges: () => 0,
      newsAgeMs: () => 0,
      openConnections: () => {
        throw new Error('not yet')
      },
      isAuditWritable: () => true,
      isProviderReady: () => true,
    })
    expect(await metrics.text()).toContain('postern_provider_ready 1')
  })

  it('start at zero where a rate will be asked for', async () => {
    const all = create()
    all.countSignIn('started')
    all.countSessionRefresh('unreachable')
    all.countStoreError()
    all.countLostAuditLine()
    const text = await all.text()
    expect(text).toContain('postern_sign_ins_total{outcome="started"} 1')
    expect(text).toContain('postern_sign_ins_total{outcome="failed"} 0')
    expect(text).toContain('postern_session_refreshes_total{outcome="unreachable"} 1')
    expect(text).toContain('postern_store_errors_total{operation="other"} 1')
    expect(text).toContain('postern_audit_lost_lines_total 1')
  })

  it('count cuts of what is open by their reason, and ends of what was not cut not at all', async () => {
    const all = create()
    const ended = { event: 'access.ended', request: 'r', app: 'wiki', status: 101, bytesIn: 0, bytesOut: 0, durationMs: 1 } as const
    countEvent(all, { ...ended, outcome: 'cut', reason: 'locked' })
    countEvent(all, { ...ended, outcome: 'cut', reason: 'locked' })
    countEvent(all, { ...ended, outcome: 'cut', reason: undefined })
    countEvent(all, { ...ended, outcome: 'completed', reason: undefined })
    const text = await all.text()
    expect(text).toContain('postern_cuts_total{reason="locked"} 2')
    expect(text).toContain('postern_cuts_total{reason="time"} 1')
    const counted = [...text.matchAll(/^postern_cuts_total.* (\d+)$/gm)].map(([, count]) => Number(count))
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(3)
  })

  it('measure the delay of the event loop', async () => {
    const all = create()
    await new Promise((resolve) => setTimeout(resolve, 60))
    const until = performance.now() + 120
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 60))
    const [, worst] = /^postern_event_loop_delay_max_seconds (\S+)/m.exec(await all.text()) ?? []
    expect(Number(worst)).toBeGreaterThan(0.05)
    expect(Number(worst)).toBeLessThan(5)
  })

  it('have a bounded number of series for anything that is no app, effect or cause', async () => {
    const all = create()
    for (let index = 0; index < 500; index += 1) {
      all.observeRequest({ ...request, effect: `effect ${index}`, status: index * 7 })
      all.countSessionEnd(`cause ${index}`)
    }
    const count = async () => (await all.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#')).length
    const before = await count()
    for (let index = 500; index < 5000; index += 1) {
      all.observeRequest({ ...request, effect: `effect ${index}`, status: index * 7 })
      all.countSessionEnd(`cause ${index}`)
    }
    expect(await count()).toBe(before)
    expect(before).toBeLessThan(400)
  })

  it('have names, units and help by convention', async () => {
    const text = await create().text()
    const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => ({ name, type }))
    expect(types.length).toBeGreaterThan(12)
    for (const { name, type } of types) {
      expect(name).toMatch(/^(?:postern|process|nodejs)_[a-z0-9_]+$/)
      expect(name.endsWith('_total')).toBe(type === 'counter')
      if (type === 'histogram') expect(name).toMatch(/_seconds$/)
      expect(name).not.toMatch(/milli|_ms(?:_|$)|percent|_kib|_mib|minutes|hours/)
      expect(text).toContain(`# HELP ${name} `)
    }
  })

  it('tell what a request took in Postern itself from what it took', async () => {
    const all = create()
    all.observeRequest({ ...request, seconds: 4, overheadSeconds: 0.0007 })
    all.observeRequest({ ...request, seconds: 4 })
    const text = await all.text()
    expect(text).toContain('postern_request_overhead_seconds_bucket{le="0.0005",effect="allow"} 0')
    expect(text).toContain('postern_request_overhead_seconds_bucket{le="0.001",effect="allow"} 1')
    expect(text).toContain('postern_request_overhead_seconds_count{effect="allow"} 1')
    expect(text).toContain('postern_request_duration_seconds_sum{effect="allow"} 8')
  })

  it('write histograms as Prometheus reads them: cumulative, to +Inf, with sum and count, bounds included', async () => {
    const all = create()
    for (const seconds of [0.005, 0.006, 400]) all.observeCutDelay({ trigger: 'lock', seconds })
    // A clock that was set back must not take anything from a sum.
    all.observeCutDelay({ trigger: 'lock', seconds: -3 })
    all.observeCutDelay({ trigger: 'lock', seconds: Number.NaN })
    const lines = (await all.text()).split('\n').filter((line) => line.includes('trigger="lock"'))
    const buckets = lines.filter((line) => line.includes('_bucket')).map((line) => Number(line.split(' ')[1]))
    expect(buckets).toEqual([...buckets].sort((a, b) => a - b))
    expect(lines).toContain('postern_revoke_to_cut_seconds_bucket{le="0.005",trigger="lock"} 2')
    expect(lines).toContain('postern_revoke_to_cut_seconds_bucket{le="0.01",trigger="lock"} 3')
    expect(lines).toContain('postern_revoke_to_cut_seconds_bucket{le="+Inf",trigger="lock"} 4')
    expect(lines).toContain('postern_revoke_to_cut_seconds_count{trigger="lock"} 4')
    expect(lines.some((line) => /_sum\{trigger="lock"\} 400\.011$/.test(line))).toBe(true)
  })

  it('say how the trail, its disk and its receivers are, as far as they can be asked', async () => {
    const at = 1_700_000_000_000
    metrics = createMetrics({
      ...sources,
      auditTrail: () => ({ queuedLines: 4, queuedBytes: 900, isFull: true, isFailing: false, seq: 4711, checkpointAt: at }),
      auditUsage: async () => ({ bytes: 5, limitBytes: 10, diskFreeBytes: 7, share: 0.5 }),
      auditSinks: () => [
        { name: 'siem', lagLines: undefined, lagBytes: 12, lagSeconds: 3, failures: 2, sent: 9, lost: 1, skipped: 0 },
        { name: 'file', lagLines: 6, lagBytes: 0, lagSeconds: 0, failures: 0, sent: 0, lost: 0, skipped: 0 },
      ],
    })
    metrics.observeAuditFsync(0.002)
    const text = await metrics.text()
    for (const line of [
      'postern_audit_lines_total 4711',
      'postern_audit_queued_lines 4',
      'postern_audit_queued_bytes 900',
      'postern_audit_full 1',
      'postern_audit_failing 0',
      'postern_audit_checkpoint_timestamp_seconds 1700000000',
      'postern_audit_disk_bytes 5',
      'postern_audit_disk_used_ratio 0.5',
      'postern_audit_sink_lag_bytes{sink="siem"} 12',
      'postern_audit_sink_lag_lines{sink="file"} 6',
      'postern_audit_sink_lines_total{sink="siem",outcome="lost"} 1',
      'postern_audit_sink_failures_total{sink="siem"} 2',
      'postern_audit_fsync_duration_seconds_count 1',
    ])
      expect(text).toContain(`${line}\n`)
    expect(text).not.toContain('postern_audit_sink_lag_lines{sink="siem"}')
    expect(await metrics.text()).toContain('postern_audit_lines_total 4711\n')
  })

  it('go on where the use of the disk cannot be found out', async () => {
    metrics = createMetrics({ ...sources, auditUsage: () => Promise.reject(new Error('no disk')) })
    const text = await metrics.text()
    expect(text).not.toMatch(/^postern_audit_disk_bytes \d/m)
    expect(text).toContain('postern_audit_writable 1')
  })

  it('say when certificates run out and how old keys and the policy are', async () => {
    const until = (file: string, notAfter: number) => ({ file, notBefore: 0, notAfter })
    metrics = createMetrics({
      ...sources,
      version: '1.2.3',
      arePolicyFilesInForce: () => false,
      expiries: () => ({
        listener: [until('/tls/a.pem', 1_000), until('/tls/b.pem', 2_000)],
        clientAuthorities: [until('/tls/ca.pem', 3_000)],
        revocationLists: [until('/tls/list.crl', 4_000)],
      }),
      keyDates: () => ({ sealing: 5_000, assertion: 6_000, audit: 7_000 }),
    })
    const text = await metrics.text()
    expect(text).toContain('postern_certificate_expiry_timestamp_seconds{use="listener",file="/tls/b.pem"} 2')
    expect(text).toContain('postern_certificate_expiry_timestamp_seconds{use="client_authority",file="/tls/ca.pem"} 3')
    expect(text).toContain('postern_revocation_list_expiry_timestamp_seconds{file="/tls/list.crl"} 4')
    expect(text).toContain('postern_key_created_timestamp_seconds{family="audit"} 7')
    expect(text).toContain('postern_policy_files_in_force 0')
    expect(text).toContain(`postern_build_info{version="1.2.3",node="${process.versions.node}"} 1`)
  })

  it('count sign-ins that came to nothing by reason, and starts of sessions', async () => {
    const all = create()
    const failed = { event: 'sign_in.failed', request: 'r', error: undefined, address: '192.0.2.1' } as const
    countEvent(all, { ...failed, reason: 'provider_refused' })
    countEvent(all, { ...failed, reason: 'sign_in_invalid' })
    const subject = { kind: 'person' } as const
    const started = { event: 'session.started', request: 'r', session: 's', subject, address: undefined, acr: undefined, amr: [] } as const
    countEvent(all, started)
    const text = await all.text()
    expect(text).toContain('postern_sign_ins_total{outcome="refused"} 1')
    expect(text).toContain('postern_sign_ins_total{outcome="failed"} 1')
    expect(text).toContain('postern_sign_in_failures_total{reason="sign_in_invalid"} 1')
    expect(text).toContain('postern_session_starts_total 1')
  })

  it('cost a request less than a microsecond', () => {
    const all = create()
    const observe = (count: number) => {
      const from = performance.now()
      for (let index = 0; index < count; index += 1)
        all.observeRequest({ ...request, app: apps[index % apps.length], seconds: (index % 100) / 5000, overheadSeconds: 0.0002 })
      return ((performance.now() - from) * 1000) / count
    }
    const apps = Array.from({ length: 50 }, (_, index) => `app-${index}`)
    observe(100_000)
    // The best of several: what else this machine does meanwhile is not what is measured.
    expect(Math.min(...Array.from({ length: 5 }, () => observe(100_000)))).toBeLessThan(1)
  })
})

describe('the room for the audit trail', () => {
  const gib = 1024 ** 3
  it.each([
    ['is what it may take', { bytes: 5 * gib, limitBytes: 20 * gib, diskFreeBytes: 100 * gib }, 0.25],
    ['is what the disk has, where that is less', { bytes: 5 * gib, limitBytes: 20 * gib, diskFreeBytes: gib }, 5 / 6],
    ['is what it may take, where nobody knows of the disk', { bytes: 5 * gib, limitBytes: 20 * gib, diskFreeBytes: undefined }, 0.25],
    ['is none where it may take nothing', { bytes: 0, limitBytes: 0, diskFreeBytes: gib }, 0],
  ])('%s', (_what, usage, share) => {
    expect(usageNumbers({ ...usage, share: 0 }).share).toBe(share)
  })
})

describe('a measured store', () => {
  it('does what the store does, and tells how long each operation took and whether it was answered', async () => {
    const all = create()
    const place = await openEmbeddedPlace()
    try {
      let now = 0
      const store = measureStore(place.store, all, () => (now += 2))
      expect(Object.keys(store)).toEqual(Object.keys(place.store))
      const until = place.clock.now() + 60_000
      expect(await store.createRecord('a:b', Buffer.from('c'), until)).toBe(true)
      expect(String((await store.loadRecord('a:b'))?.value)).toBe('c')
      const text = await all.text()
      expect(text).toContain('postern_store_operation_duration_seconds_sum{operation="create_record"} 0.002')
      expect(text).toContain('postern_store_errors_total{operation="load_record"} 0')
      await place.store.close()
      await expect(store.loadRecord('a:b')).rejects.toMatchObject({ code: 'session_store_unavailable' })
      expect(await all.text()).toContain('postern_store_errors_total{operation="load_record"} 1')
    } finally {
      await place.close()
    }
  })
})
