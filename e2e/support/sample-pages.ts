/**
 * Every page of ours with plausible content, for the tests that look at pages: one list, so that none is forgotten.
 */

import { pageHeaders } from '../../src/control/page-headers.ts'
import type { AppCardView, MySessionsView, MySessionView, OwnPage, PageRenderer, RefusalView } from '../../src/control/pages.ts'
import type { RemedyDetails, Unmet } from '../../src/policy/decision.ts'

const requestId = '01JE4X8Q5ZK7R2M9'
const portalUrl = 'http://access.corp.localhost:8080/'

const payroll = {
  name: 'Payroll',
  url: 'http://payroll.corp.localhost:8080/',
  owner: 'finance-systems@corp.example',
  help: 'https://help.corp.example/access/payroll',
}

const refusal: RefusalView = {
  status: 403,
  reason: 'no_rule_matched',
  requestId,
  at: 1_800_000_000_000,
  app: payroll,
  person: 'alice@corp.example',
  unmet: [{ condition: 'subject', outcome: 'false', remedy: 'ask_for_access' }],
  retryPath: '/runs/2026-11',
  signInUrl: `${portalUrl}sign-in?return_to=http%3A%2F%2Fpayroll.corp.localhost%3A8080%2F`,
  signOutUrl: '/.postern/sign-out',
  portalUrl,
}

const decidedAt = Date.parse('2026-11-25T21:48:00+01:00')

const unmet = (condition: Unmet['condition'], remedy: Unmet['remedy'], details?: RemedyDetails): Unmet => ({
  condition,
  outcome: 'false',
  remedy,
  ...(details === undefined ? {} : { details }),
})
const access = unmet('subject', 'ask_for_access')
const disk = unmet('device', 'disk_not_encrypted')
const system = unmet('device', 'os_outdated', { present: 'macos 14.1', wanted: 'macos >= 14.4' })
const report = unmet('device', 'device_report_too_old', { at: decidedAt - 3 * 86_400_000, withinSeconds: 86_400, present: 'macos 14.1' })
const hours = unmet('time', 'outside_hours', { at: Date.parse('2026-11-26T07:00:00+01:00'), zone: 'Europe/Berlin' })
const network = unmet('network', 'other_network')

/** What may be in the way of somebody whose account is allowed, and what if it is not. */
const inTheWay: Readonly<Record<string, readonly Unmet[]>> = {
  disk: [disk],
  report: [report],
  settings: [disk, unmet('device', 'screen_lock_off'), unmet('device', 'firewall_off'), system],
  attribute: [unmet('device', 'device_setting', { present: 'ring: beta', wanted: 'ring: stable' })],
  unidentified: [unmet('device', 'device_unidentified')],
  'not-proven': [unmet('device', 'device_not_proven')],
  unregistered: [unmet('device', 'device_unknown')],
  hours: [hours],
  'hours-soon': [unmet('time', 'outside_hours', { at: decidedAt + 5 * 60_000, zone: 'America/New_York' })],
  'not-yet': [unmet('dates', 'not_open_yet', { at: Date.parse('2027-01-05T00:00:00+01:00'), zone: 'Europe/Berlin' })],
  network: [network],
  country: [unmet('network', 'other_country')],
  browser: [unmet('client', 'browser_not_accepted', { wanted: 'firefox, chrome' })],
  everything: [unmet('sign_in', 'sign_in_not_recent', { at: decidedAt - 5_400_000, withinSeconds: 3600 }), report, system, network, hours],
  'and-access': [access, disk, hours],
}

const card = (id: string, name: string, description: string | undefined, more: Partial<AppCardView> = {}): AppCardView => ({
  id,
  name,
  description,
  url: `http://${id}.corp.localhost:8080/`,
  logo: undefined,
  sensitivity: 'internal',
  access: 'open',
  ...more,
})

/** Cards of a medium-sized company, with the names that break layouts. */
export const sampleApps: readonly AppCardView[] = [
  card('wiki', 'Wiki', 'Notes, how-tos and decisions. Everyone may write.'),
  card('board', 'Live board', 'Who is working on what, right now.'),
  card('payroll', 'Payroll', 'Salary statements and tax documents.', { sensitivity: 'restricted' }),
  card('expenses', 'Expenses', 'Hand in receipts, see what was paid out and when the next run is.'),
  card('crm', 'Customers & contracts', 'Accounts, contacts, offers.', { sensitivity: 'confidential' }),
  card('grafana', 'Grafana', undefined),
  card('builds', 'Build farm', 'Pipelines and artefacts.', { url: 'http://tools.corp.localhost:8080/builds/' }),
  card('hr', 'الموارد البشرية', 'الإجازات والعقود والتقييم السنوي'),
  card('lunch', '🍜 Lunch roulette', 'Eat with someone new on Thursdays.'),
  card('warehouse', 'Lagerverwaltungssystemoberflächenkonfigurationswerkzeug', 'A name without a single break in it.', {
    url: 'http://lagerverwaltungssystemoberflaechenkonfiguration.warehouse-and-logistics.corp.localhost:8080/start/overview',
  }),
  card('ledger', 'General ledger', 'Bookings and closing of the books.', { access: 'ask', sensitivity: 'restricted' }),
]

const hourMs = 3_600_000
const session = (reference: string, more: Partial<MySessionView>): MySessionView => ({
  reference,
  browser: 'chrome',
  system: 'windows',
  device: undefined,
  address: '203.0.113.7',
  country: 'DE',
  startedAt: decidedAt - 5 * hourMs,
  lastUsedAt: decidedAt - 20_000,
  isCurrent: false,
  ...more,
})

/** A person with a few browsers, one of which says nothing of itself. */
const mySessions: MySessionsView = {
  person: { name: 'Alice Liddell', email: 'alice@corp.example' },
  at: decidedAt,
  sessions: [
    session('a', { isCurrent: true, device: 'laptop-7.corp.example' }),
    session('b', {
      browser: 'safari',
      system: 'ios',
      address: '2001:db8:85a3:8d3:1319:8a2e:370:7348',
      lastUsedAt: decidedAt - 11 * 60_000,
    }),
    session('c', { browser: 'firefox', system: 'linux', address: '10.1.2.3', country: undefined, lastUsedAt: decidedAt - 4 * hourMs }),
    session('d', { browser: undefined, system: undefined, country: 'BR', lastUsedAt: decidedAt - 5 * hourMs }),
  ],
  ended: undefined,
  formToken: 'f'.repeat(43),
  signOutUrl: '/.postern/sign-out',
  portalUrl,
}

/** Names of all pages to what a browser would be sent. */
export function samplePages(renderer: PageRenderer): ReadonlyMap<string, OwnPage> {
  const html = (status: number, body: string): OwnPage => ({ status, headers: pageHeaders(), body })
  const person = { name: 'Alice Liddell', email: 'alice@corp.example' }
  const portal = (apps: readonly AppCardView[], query?: string): string =>
    renderer.renderPortal({ person, apps, query, signOutUrl: '/.postern/sign-out' })
  const refused = (more: Partial<RefusalView>): OwnPage => renderer.refusalPage({ ...refusal, ...more })
  const stepUpFailed = (lack: string): string =>
    renderer.renderSignInError({
      reason: 'step_up_failed',
      providerError: lack,
      requestId,
      startAgainUrl: `${payroll.url}runs/2026-11`,
      signOutUrl: `${portalUrl}.postern/sign-out`,
      portalUrl,
      person: 'Alice Liddell',
    })
  return new Map<string, OwnPage>([
    ['portal', html(200, portal(sampleApps))],
    ['portal-demo', html(200, portal(sampleApps.slice(0, 3)))],
    ['portal-empty', html(200, portal([]))],
    ['portal-searched', html(200, portal(sampleApps, 'nothing like it'))],
    [
      'break-glass',
      html(200, renderer.renderBreakGlass({ person: 'Bob Baker', email: 'bob@corp.example', minutes: 30, code: 'A'.repeat(43) })),
    ],
    ['renewal-done', renderer.renewal.renderPage({ outcome: 'renewed', mode: 'frame' })],
    ['renewal-failed', renderer.renewal.renderPage({ outcome: 'login_required', mode: 'popup' })],
    ['my-sessions', html(200, renderer.renderMySessions({ ...mySessions, ended: 'one' }))],
    ['my-sessions-one', html(200, renderer.renderMySessions({ ...mySessions, sessions: mySessions.sessions.slice(0, 1) }))],
    ['denied', refused({})],
    ['denied-read-only', refused({ unmet: [{ condition: 'methods', outcome: 'false', remedy: 'read_only' }] })],
    [
      'denied-two-ways',
      refused({
        unmet: [
          { condition: 'subject', outcome: 'unknown', remedy: 'verify_email' },
          { condition: 'paths', outcome: 'false', remedy: 'other_path' },
        ],
        app: { ...payroll, help: undefined },
      }),
    ],
    ...Object.entries(inTheWay).map(([name, list]) => [`in-the-way-${name}`, refused({ at: decidedAt, unmet: list })] as const),
    ['closed-by-rule-elsewhere', refused({ at: decidedAt, reason: 'denied_by_rule', unmet: [unmet('network', 'other_country')] })],
    ['device-changed', refused({ reason: 'device_changed', unmet: [] })],
    [
      'device-changed-portal',
      html(403, renderer.renderError({ reason: 'device_changed', requestId, portalUrl, person: undefined, signInUrl: '/sign-in' })),
    ],
    ...(['sign_in_too_weak', 'sign_in_not_recent', 'auth_time_missing', 'app_not_satisfied'] as const).map(
      (lack) => [`step-up-failed-${lack}`, html(403, stepUpFailed(lack))] as const,
    ),
    ['denied-by-rule', refused({ reason: 'denied_by_rule', unmet: [] })],
    [
      'denied-long',
      refused({ app: { ...payroll, name: sampleApps[9]?.name ?? '' }, person: `${'a'.repeat(64)}@${'b'.repeat(60)}.example` }),
    ],
    ['locked', refused({ reason: 'locked', unmet: [] })],
    ['not-found', refused({ status: 404, reason: 'app_not_found', app: undefined, unmet: [], person: undefined })],
    ['upstream-down', refused({ status: 502, reason: 'upstream_unreachable', unmet: [] })],
    ['upstream-slow', refused({ status: 504, reason: 'upstream_timeout', unmet: [] })],
    ['broken', refused({ status: 503, reason: 'evaluation_failed', unmet: [] })],
    ['frame', refused({ status: 401, reason: 'login_required', unmet: [], person: undefined })],
    [
      'provider-down',
      html(503, renderer.renderUnavailable({ reason: 'provider_unavailable', requestId, portalUrl, retryPath: '/sign-in' })),
    ],
    [
      'sign-in-error',
      html(
        400,
        renderer.renderSignInError({
          reason: 'provider_refused',
          providerError: 'access_denied',
          requestId,
          startAgainUrl: '/sign-in?return_to=http%3A%2F%2Fwiki.corp.localhost%3A8080%2F',
          portalUrl,
        }),
      ),
    ],
    ['page-not-found', html(404, renderer.renderNotFound({ requestId, portalUrl, person: undefined }))],
    ['error', html(500, renderer.renderError({ reason: 'internal_error', requestId, portalUrl, person: undefined }))],
    [
      'sign-out',
      renderer.signOutPage({
        person: 'alice@corp.example',
        appName: 'Payroll',
        portalUrl,
        formActionOrigins: ['http://access.corp.localhost:8080', 'http://id.corp.localhost:8080'],
      }),
    ],
    [
      'kept-post',
      renderer.keptPostPage({
        person: 'alice@corp.example',
        appName: 'Payroll',
        address: 'payroll.corp.localhost:8080/runs/2026-11/approval',
        action: 'http://payroll.corp.localhost:8080/runs/2026-11/approval?step=2',
        resume: 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ',
        discardAction: '/.postern/kept-post?attempt=abcdefghijklmnop',
        hasFiles: true,
        bytes: 734_003,
        ageMs: 42_000,
        leftMs: 258_000,
        portalUrl,
      }),
    ],
    ...(['too_large', 'unknown_session', 'other_site'] as const).map(
      (because) =>
        [
          `post-not-kept-${because}`,
          renderer.notKeptPage({
            status: 401,
            because,
            isStepUp: because === 'too_large',
            person: because === 'too_large' ? 'alice@corp.example' : undefined,
            appName: because === 'too_large' ? 'Payroll' : 'payroll.corp.localhost',
            signInUrl: `${portalUrl}sign-in?return_to=http%3A%2F%2Fpayroll.corp.localhost%3A8080%2F`,
            maxBytes: 1024 ** 2,
            requestId,
            portalUrl,
          }),
        ] as const,
    ),
    ['signed-out', html(200, renderer.renderSignedOut({ signInUrl: '/', providerTold: 'yes' }))],
    ['signed-out-here-only', html(200, renderer.renderSignedOut({ signInUrl: '/', providerTold: 'no' }))],
  ])
}
