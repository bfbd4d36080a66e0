/**
 * The demo's payroll: a page whose script talks to a JSON API, and a page for administrators.
 *
 * Money deserves a second look, so this app does not take the identity headers' word for it: every request except for the style
 * and the script must carry an assertion that verifies. Who may do what is still the policy's business; the app asks only
 * who somebody is, to write it down.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { loadDemoAsset } from '../assets.ts'
import { html } from '../markup.ts'
import {
  type AppTarget,
  type RunningApp,
  readBody,
  sendAsset,
  sendJson,
  sendPage,
  sendRedirect,
  sendText,
  startAppServer,
} from './app-server.ts'
import { createAssertionCheck } from './assertion.ts'
import type { Identity } from './identity.ts'
import { renderPage } from './layout.ts'
import { createRuns, monthOf, type Runs } from './payroll-runs.ts'

export interface PayrollOptions {
  readonly host?: string | undefined
  readonly now: () => number
  /** Postern's access URL: who signs the assertions. */
  readonly issuer: URL
  /** Payroll's own public URL, without a trailing slash: whom the assertions must be for. */
  readonly audience: string
}

const script = loadDemoAsset('payroll.js')

/** Starts payroll with four months of runs. */
export async function startPayroll(port: number, options: PayrollOptions): Promise<RunningApp> {
  const verify = createAssertionCheck(options)
  const runs = createRuns(options.now())
  let payDay = 25

  async function handle(request: IncomingMessage, response: ServerResponse, target: AppTarget): Promise<void> {
    if (target.path === '/assets/payroll.js') return sendAsset(response, script)
    const verification = await verify(request)
    if (verification.outcome !== 'verified') return refuse(response, target, verification.outcome)
    const { identity } = verification
    if (target.segments[0] === 'api') return handleApi(request, response, { target, identity })
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    if (target.path === '/' && isRead) return sendPage(response, 200, runsPage(identity, monthOf(options.now())))
    if (target.path === '/admin/' && isRead) return sendPage(response, 200, adminPage(identity, payDay))
    if (target.path === '/admin' && isRead) return sendRedirect(response, '/admin/')
    if (target.path === '/admin/pay-day' && request.method === 'POST') {
      const day = Number(new URLSearchParams(await readBody(request, 1024)).get('day'))
      if (!Number.isInteger(day) || day < 1 || day > 28) return sendText(response, 400, 'A pay day is a number from 1 to 28.')
      payDay = day
      return sendRedirect(response, '/admin/')
    }
    sendText(response, 404, 'There is nothing here.')
  }

  async function handleApi(
    request: IncomingMessage,
    response: ServerResponse,
    { target, identity }: { target: AppTarget; identity: Identity },
  ): Promise<void> {
    const [, resource, id, action] = target.segments
    const by = identity.email ?? identity.user
    if (resource === 'me' && request.method === 'GET') return sendJson(response, 200, { ...identity, pay_day: payDay })
    if (resource === 'runs' && request.method === 'GET' && id === undefined) return sendJson(response, 200, { runs: runs.list() })
    if (resource === 'runs' && request.method === 'POST' && id === undefined) return addRun(request, response, { runs, by })
    if (resource === 'runs' && request.method === 'POST' && action === 'approval') {
      const run = runs.approve(Number(id), by)
      if (run === 'unknown') return sendJson(response, 404, { error: 'unknown_run' })
      if (run === 'not_a_draft') return sendJson(response, 409, { error: 'not_a_draft' })
      return sendJson(response, 200, { run })
    }
    sendJson(response, 404, { error: 'not_found' })
  }

  const { app } = await startAppServer({ port, host: options.host, handle })
  return app
}

async function addRun(request: IncomingMessage, response: ServerResponse, { runs, by }: { runs: Runs; by: string }): Promise<void> {
  let month: unknown
  try {
    const body: unknown = JSON.parse(await readBody(request, 4096))
    month = typeof body === 'object' && body !== null && 'month' in body ? body.month : undefined
  } catch {
    return sendJson(response, 400, { error: 'not_json' })
  }
  const run = runs.add(typeof month === 'string' ? month : '', by)
  if (run === 'bad_month') return sendJson(response, 400, { error: 'bad_month' })
  if (run === 'month_exists') return sendJson(response, 409, { error: 'month_exists' })
  if (run === 'full') return sendJson(response, 507, { error: 'full' })
  sendJson(response, 201, { run })
}

function refuse(response: ServerResponse, target: AppTarget, outcome: 'missing' | 'invalid' | 'keys_unavailable'): void {
  const status = outcome === 'keys_unavailable' ? 503 : 401
  const text =
    outcome === 'keys_unavailable'
      ? 'Postern’s keys cannot be fetched just now, so nobody’s identity can be verified. Try again in a moment.'
      : 'This request did not come through Postern: it has no assertion that payroll could verify.'
  if (target.segments[0] === 'api') sendJson(response, status, { error: `assertion_${outcome}` })
  else sendText(response, status, text)
}

const frame = {
  app: { id: 'payroll', name: 'Payroll', mark: 'P' },
  navigation: [
    { href: '/', label: 'Runs' },
    { href: '/admin/', label: 'Administration' },
  ],
} as const

function runsPage(identity: Identity, month: string) {
  return renderPage(
    { ...frame, title: 'Runs', identity, scripts: ['/assets/payroll.js'] },
    html`<h1>Payroll runs</h1>
    <p class="states"><span class="state" id="api-state" role="status" data-state="off">Loading…</span></p>
    <div class="card scroll" tabindex="0" role="region" aria-label="Payroll runs">
      <table>
        <thead><tr><th scope="col">Month</th><th scope="col" class="number">People</th><th scope="col" class="number">Total</th>
        <th scope="col">State</th><th scope="col">Last by</th><th scope="col"><span class="hidden">Action</span></th></tr></thead>
        <tbody id="runs"></tbody>
      </table>
    </div>
    <form class="inline card" id="add" method="post" action="/api/runs">
      <label>New run for <input type="month" name="month" required value="${month}"></label>
      <button class="button primary">Create draft</button>
    </form>
    <noscript><p class="card">This page asks payroll’s API with script, as many internal apps do. The administration page works without.</p></noscript>`,
  )
}

function adminPage(identity: Identity, payDay: number) {
  return renderPage(
    { ...frame, title: 'Administration', identity },
    html`<h1>Administration</h1>
    <p class="soft">Only this path is open to administrators of Postern; finance sees the runs, and not this.</p>
    <form class="inline card" method="post" action="/admin/pay-day">
      <label>Salaries are paid on day <input type="number" name="day" min="1" max="28" required value="${payDay}"></label>
      <button class="button primary">Save</button>
    </form>
    <div class="card scroll" tabindex="0" role="region" aria-label="Salary bands">
      <table>
        <caption>Salary bands</caption>
        <thead><tr><th scope="col">Band</th><th scope="col" class="number">From</th><th scope="col" class="number">To</th></tr></thead>
        <tbody>${salaryBands.map(
          ([band, from, to]) =>
            html`<tr><th scope="row">${band}</th><td class="number">${from.toLocaleString('en')}</td><td class="number">${to.toLocaleString('en')}</td></tr>`,
        )}</tbody>
      </table>
    </div>`,
  )
}

const salaryBands = [
  ['Associate', 42_000, 52_000],
  ['Professional', 52_000, 68_000],
  ['Senior', 68_000, 88_000],
  ['Principal', 88_000, 112_000],
] as const
