/** The text at /metrics: names by convention, series bounded whatever is observed. */

import { afterEach, describe, expect, it } from 'vitest'
import { countEvent } from './compose-metrics.ts'
import { createMetrics, type Metrics } from './metrics.ts'

let metrics: Metrics | undefined
afterEach(() => metrics?.close())

function create() {
  metrics = createMetrics({
    openConnections: () => 3,
    openExchanges: () => 2,
    newsAgeMs: () => 1500,
    isAuditWritable: () => true,
    isProviderReady: () => false,
  })
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
    expect(text).toContain('postern_store_errors_total 1')
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
    expect(text.match(/^postern_cuts_total/gm)).toHaveLength(2)
  })

  it('measure the delay of the event loop', async () => {
    const all = create()
    await new Promise((resolve) => setTimeout(resolve, 60))
    const until = performance.now() + 120
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 60))
    const [, worst] = /postern_event_loop_delay_seconds\{quantile="1"\} (\S+)/.exec(await all.text()) ?? []
    expect(Number(worst)).toBeGreaterThan(0.05)
    expect(Number(worst)).toBeLessThan(5)
  })

  it('have a bounded number of series for anything that is no app, effect or cause', async () => {
    const all = create()
    for (let index = 0; index < 500; index += 1) {
      all.observeRequest({ ...request, effect: `effect ${index}`, status: index * 7 })
      all.countSessionEnd(`cause ${index}`)
    }
    const series = (await all.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    expect(series.length).toBeLessThan(150)
  })

  it('have names, units and help by convention', async () => {
    const text = await create().text()
    const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => ({ name, type }))
    expect(types.length).toBeGreaterThan(12)
    for (const { name, type } of types) {
      expect(name).toMatch(/^(?:postern|process|nodejs)_[a-z_]+$/)
      expect(name.endsWith('_total')).toBe(type === 'counter')
      if (type === 'histogram') expect(name).toMatch(/_seconds$/)
      expect(text).toContain(`# HELP ${name} `)
    }
  })
})
