/**
 * `/console/tokens`: the service tokens, and the forms that make, rotate and end one.
 *
 * The text of a token is shown by the answer to the very form that made it, never kept for a next page: no form state, notice or address ever
 * holds it.
 */

import type { CarryOut, Refused } from '../operations/operation.ts'
import type { TokenOperations } from '../operations/tokens.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { describeScopes, describeTokenRow, graceChoices, lifetimeChoices } from './tokens-content.ts'

export interface TokensPagesPorts {
  readonly operations: TokenOperations
  readonly carryOut: CarryOut
}

const root = '/console/tokens'
const section = 'tokens'

/** Adds the pages of service tokens. */
export function mountTokensPages(routes: ConsoleRoutes, { carryOut, operations }: TokensPagesPorts): void {
  routes.get(root, 'tokens:read', async ({ asker, now, query }) => {
    const after = query.get('after') ?? undefined
    const listed = await carryOut(operations.list, after === undefined ? {} : { after }, asker)
    if (listed.outcome === 'refused') return { kind: 'refused', refusal: listed }
    const { entries, next } = listed.value
    const content = {
      rows: entries.map((token) => describeTokenRow(token, now)),
      next: next === null ? undefined : `${root}?${new URLSearchParams({ after: next })}`,
      first: after === undefined ? undefined : root,
    }
    return { kind: 'page', template: 'tokens', title: 'Service tokens', section, content }
  })

  routes.get(`${root}/new`, 'tokens:write', async () => showForm({ name: '', scopes: [], reportScope: '', seconds: '7776000' }, undefined))

  routes.post(`${root}/new`, 'tokens:write', async ({ asker }, form) => {
    const reportScope = (form.get('report_scope') ?? '').trim()
    const typed = {
      name: form.get('name') ?? '',
      scopes: form.getAll('scope'),
      reportScope,
      seconds: form.get('lifetime_seconds') ?? '',
    }
    // Reports on some devices only: what is typed narrows the choice that stands beside it.
    const scopes = reportScope === '' ? typed.scopes : [...typed.scopes.filter((scope) => scope !== 'devices:report'), reportScope]
    const made = await carryOut(operations.create, { name: typed.name, scopes, lifetime_seconds: typed.seconds }, asker)
    return made.outcome === 'refused' ? showForm(typed, made) : showText(made.value, false)
  })

  routes.get(`${root}/:id`, 'tokens:read', (request) => showToken(request))

  routes.post(`${root}/:id/rotate`, 'tokens:write', async (request, form) => {
    const input = { id: request.params['id'], grace_seconds: form.get('grace_seconds') ?? '' }
    const rotated = await carryOut(operations.rotate, input, request.asker)
    return rotated.outcome === 'refused' ? { kind: 'refused', refusal: rotated } : showText(rotated.value, true)
  })

  routes.post(`${root}/:id/revoke`, 'tokens:write', async ({ asker, params }) => {
    const revoked = await carryOut(operations.revoke, { id: params['id'] }, asker)
    if (revoked.outcome === 'refused')
      return revoked.problem === 'not_found' ? { kind: 'not_found' } : { kind: 'refused', refusal: revoked }
    const { already, id } = revoked.value
    const text = already ? `Token ${id} was revoked before.` : `Token ${id} is revoked. It ends on every instance within five seconds.`
    return { kind: 'redirect', to: `${root}/${encodeURIComponent(id)}`, notice: { tone: already ? 'info' : 'good', text } }
  })

  async function showToken({ asker, now, params }: ConsoleRequest): Promise<ConsoleAnswer> {
    const found = await carryOut(operations.get, { id: params['id'] }, asker)
    if (found.outcome === 'refused') return { kind: 'not_found' }
    const token = describeTokenRow(found.value, now)
    const content = { token, graceChoices, trailHref: `/console/trail?${new URLSearchParams({ q: token.id })}` }
    return { kind: 'page', template: 'tokens-one', title: token.name, section, content }
  }
}

interface Typed {
  readonly name: string
  readonly scopes: readonly string[]
  readonly reportScope: string
  readonly seconds: string
}

/** The form, with what was typed and, at each field, what is wrong with it. */
function showForm({ name, reportScope, scopes, seconds }: Typed, refusal: Refused | undefined): ConsoleAnswer {
  const fields = (refusal?.detail?.['fields'] ?? {}) as Readonly<Record<string, string>>
  const scopeProblem = Object.entries(fields).find(([field]) => field === 'scopes' || field.startsWith('scopes.'))?.[1]
  const content = {
    name,
    reportScope,
    groups: describeScopes(scopes),
    lifetimes: lifetimeChoices.map((choice) => ({ ...choice, isChosen: String(choice.seconds) === seconds })),
    problems: {
      name: fields['name'],
      scopes: scopeProblem,
      lifetime: fields['lifetime_seconds'],
      other: refusal !== undefined && Object.keys(fields).length === 0 ? refusal.message : undefined,
    },
  }
  return { kind: 'page', template: 'tokens-new', title: 'New service token', section, content, status: refusal === undefined ? 200 : 422 }
}

function showText(
  { text, token }: { readonly text: string; readonly token: { readonly id: string; readonly name: string } },
  isRotation: boolean,
) {
  const content = { text, isRotation, name: token.name, href: `${root}/${encodeURIComponent(token.id)}` }
  return { kind: 'page', template: 'tokens-shown', title: `Token ${token.name}`, section, content } satisfies ConsoleAnswer
}
