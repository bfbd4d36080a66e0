/**
 * Pages of apps: the list, one app with its rules as sentences, and a new one, which begins as a draft with one rule.
 */

import type { ActivityDigest } from '../../administration/activity.ts'
import type { PolicyInForce } from '../../administration/policy-history.ts'
import type { PolicyEditor } from '../../config/policy-editor.ts'
import type { AppsOperations } from '../operations/apps.ts'
import type { CarryOut } from '../operations/operation.ts'
import type { DraftDesk } from '../operations/policy-edit-desk.ts'
import { describeApp, describeApps, describeNewApp, emptyApp, type NewApp, type RuleTexts } from './apps-content.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { draftHref, ownerHref } from './editor-draft.ts'

export interface AppsPagesPorts {
  readonly operations: AppsOperations
  readonly carryOut: CarryOut
  /** For the texts of the rules in force. */
  readonly inForce: () => Promise<PolicyInForce>
  readonly desk: Pick<DraftDesk, 'documents'>
  readonly editor: Pick<PolicyEditor, 'outline'>
  readonly digest: Pick<ActivityDigest, 'seen'>
}

const appsOfPage = 50
const mostWords = 40

/** Adds `/console/apps`. */
export function mountAppsPages(routes: ConsoleRoutes, ports: AppsPagesPorts): void {
  const { carryOut, desk, digest, inForce, operations } = ports
  /** The version of the policy whose texts were looked at. */
  let readyFor: string | undefined

  routes.get('/console/apps', 'policy:read', async ({ asker, may, now, query }) => {
    const filter = { q: (query.get('q') ?? '').trim(), sensitivity: query.get('sensitivity') ?? '', health: query.get('health') ?? '' }
    const given = Object.entries(filter).filter(([, value]) => value !== '')
    const after = query.get('after')
    const input = { ...Object.fromEntries(given), limit: appsOfPage, ...(after === null ? {} : { after }) }
    const found = await carryOut(operations.list, input, asker)
    if (found.outcome === 'refused') return { kind: 'refused', refusal: found }
    const content = describeApps(found.value, { filter, isFirst: after === null, mayChange: may('policy:write'), now })
    getTextsReady()
    return { kind: 'page', template: 'apps', title: 'Apps', section: 'apps', content }
  })

  routes.get('/console/apps/new', 'policy:write', async () => newPage(emptyApp, {}))

  routes.post('/console/apps/new', 'policy:write', async (request, sent) => {
    const typed = readNewApp(sent)
    if (sent.get('intent') === 'check') {
      const checked = await carryOut(operations.check, { upstream: typed.upstream }, request.asker)
      if (checked.outcome === 'done') return newPage(typed, { checked: checked.value })
      return newPage(typed, { failure: checked.message, errors: fieldsOf(checked.detail), status: 422 })
    }
    const { id, name, owner, sensitivity, upstream, url, who, whoKind } = typed
    const input = {
      id,
      name,
      url,
      upstream,
      sensitivity,
      owner,
      who: whoKind === 'signed_in' ? { kind: whoKind } : { kind: whoKind, values: who },
    }
    const begun = await carryOut(operations.create, input, request.asker)
    if (begun.outcome === 'refused') {
      const errors = fieldsOf(begun.detail)
      const isAtField = Object.keys(errors).length > 0
      return newPage(typed, { failure: isAtField ? undefined : begun.message, errors, status: begun.problem === 'conflict' ? 409 : 422 })
    }
    const text = `The app is in a draft of its own. Look at it, try it, then publish it.`
    return { kind: 'redirect', to: ownerHref(draftHref(begun.value.draft), begun.value.app), notice: { tone: 'good', text } }
  })

  routes.get('/console/apps/:app', 'policy:read', async (request) => {
    const found = await carryOut(operations.get, { app: request.params['app'] ?? '' }, request.asker)
    if (found.outcome === 'refused') return found.problem === 'not_found' ? { kind: 'not_found' } : { kind: 'refused', refusal: found }
    const content = describeApp(found.value, {
      mayChange: request.may('policy:write'),
      now: request.now,
      yaml: await textsOf(found.value.id),
    })
    return { kind: 'page', template: 'app', title: found.value.name, section: 'apps', content }
  })

  routes.post('/console/apps/:app/draft', 'policy:write', async (request: ConsoleRequest) => {
    const app = request.params['app'] ?? ''
    const begun = await carryOut(operations.edit, { app }, request.asker)
    if (begun.outcome === 'refused') return { kind: 'refused', refusal: begun }
    const text = 'This is a draft of your own. Nothing is in force before it is published.'
    return { kind: 'redirect', to: ownerHref(draftHref(begun.value.draft), app), notice: { tone: 'info', text } }
  })

  /** The YAML of what is in force; empty where its files cannot be read. */
  async function textsOf(app: string): Promise<RuleTexts> {
    const documents = await desk.documents((await inForce()).bundle)
    const own = documents.flatMap(({ outline }) => outline.apps).find(({ id }) => id === app)
    const company = new Map(documents.flatMap(({ outline }) => outline.rules.map((rule) => [rule.name, rule.text] as const)))
    return { own: own?.rules.map(({ text }) => text) ?? [], company }
  }

  /**
   * Of a large policy the first look at the texts takes a second, in a thread of its own: whoever sees the list opens an app next. What is wrong
   * with the files is said there.
   */
  function getTextsReady(): void {
    inForce()
      .then(async ({ bundle, policyVersion }) => {
        if (policyVersion === readyFor) return
        readyFor = policyVersion
        await desk.documents(bundle)
      })
      .catch(() => {
        readyFor = undefined
      })
  }

  function newPage(
    typed: NewApp,
    { checked, errors = {}, failure, status = 200 }: Partial<Parameters<typeof describeNewApp>[1]> & { readonly status?: 200 | 409 | 422 },
  ): ConsoleAnswer {
    const seen = (kind: 'group' | 'email' | 'domain') => digest.seen(kind, '', mostWords).map(({ value }) => value)
    const words = { groups: seen('group'), users: seen('email'), domains: seen('domain') }
    return {
      kind: 'page',
      template: 'apps-new',
      title: 'New app',
      section: 'apps',
      status,
      scripts: ['editor.js'],
      content: describeNewApp(typed, { checked, errors, failure, words }),
    }
  }
}

/** As it was typed; an id is made from the name where none was. */
function readNewApp(sent: URLSearchParams): NewApp {
  const line = (name: string) => (sent.get(name) ?? '').trim()
  const name = line('name')
  const made = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/\p{M}/gu, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60)
    .replace(/-+$/, '')
  return {
    name,
    id: line('id') === '' ? made : line('id'),
    url: line('url'),
    upstream: line('upstream'),
    sensitivity: line('sensitivity') === '' ? 'internal' : line('sensitivity'),
    owner: line('owner'),
    whoKind: line('who_kind') === '' ? 'groups' : line('who_kind'),
    who: sent
      .getAll('who')
      .map((value) => value.trim())
      .filter((value) => value !== '')
      .slice(0, 200),
  }
}

/** The sentences of a refusal by field; those of list entries at their list. */
function fieldsOf(detail: Readonly<Record<string, unknown>> | undefined): Readonly<Record<string, string>> {
  const fields = detail?.['fields']
  if (typeof fields !== 'object' || fields === null) return {}
  return Object.fromEntries(Object.entries(fields).map(([name, sentence]) => [name.split('.')[0] ?? name, String(sentence)]))
}
