/**
 * Where orders to cut somebody off go: the store of the configuration, or the API of an instance that runs elsewhere.
 *
 * `--url` and `--token` name the latter: then no configuration is read, and what may be done is what the token may. Both give the same
 * answers. An instance that does not answer, or answers with something else than its API would, ends the command with status 2.
 */

import type { Command } from 'commander'
import type {
  LockOrder,
  LockStatement,
  Ordered,
  RevocationStatement,
  RevokeOrder,
  SessionStatement,
  UnlockOrder,
} from '../administration/access-orders.ts'
import type { Administration } from '../compose-administration.ts'
import { PosternError } from '../errors.ts'
import { administer, type OpenAdministration } from './administer.ts'
import { type ApiAnswer, askApi } from './ask-api.ts'
import { parseUrl } from './device-submit.ts'
import { readText } from './read-text.ts'

/** Where a command is carried out. */
export interface DeskOptions {
  readonly config: string
  readonly url?: URL
  readonly token?: string
  readonly caFile?: string
}

/** `AccessOrders` for one administrator. */
export interface AccessDesk {
  lock(order: LockOrder): Promise<Ordered<LockStatement>>
  unlock(order: UnlockOrder): Promise<Ordered<Pick<LockStatement, 'on' | 'target' | 'label'>>>
  listLocks(): AsyncIterable<LockStatement>
  listSessions(subject: string | undefined): Promise<Ordered<AsyncIterable<SessionStatement>>>
  revoke(order: RevokeOrder): Promise<Ordered<RevocationStatement>>
}

/** Adds the options that say where. */
export function withDeskOptions(command: Command): Command {
  return command
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--url <url>', 'access host of a running instance, in place of a configuration; needs --token', parseUrl)
    .option('--token <token>', 'service token with the scope that this needs')
    .option('--ca-file <file>', 'certificate authority of --url, PEM')
}

/** Does `work` where the options say. */
export async function openDesk(
  options: DeskOptions,
  openAdministration: OpenAdministration,
  work: (desk: AccessDesk) => Promise<void>,
): Promise<void> {
  const { caFile, config, token, url } = options
  if (url === undefined && token === undefined) {
    return await administer(config, openAdministration, (administration) => work(localDesk(administration)))
  }
  if (url === undefined || token === undefined) {
    console.error('postern: --url and --token go together')
    process.exitCode = 2
    return
  }
  await work(remoteDesk(url, token, caFile === undefined ? undefined : await readText(caFile)))
}

function localDesk({ actor, orders, recordFirst }: Pick<Administration, 'actor' | 'orders' | 'recordFirst'>): AccessDesk {
  return {
    lock: (order) => orders.lock(order, actor),
    unlock: (order) => orders.unlock(order, actor),
    listLocks: () => orders.listLocks(),
    async listSessions(subject) {
      // First: what is seen off the record is seen.
      await recordFirst({ event: 'data.read', actor, what: 'sessions', target: subject, entries: undefined })
      return await orders.listSessions(subject)
    },
    revoke: (order) => orders.revoke(order, actor),
  }
}

function remoteDesk(url: URL, token: string, ca: string | undefined): AccessDesk {
  const ask = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) =>
    askApi(new URL(path, url), { method, token, ca, body: body === undefined ? undefined : JSON.stringify(body) })

  return {
    lock: async (order) => orderedOf<LockStatement>(await ask('POST', '/api/v1/locks', order)),
    unlock: async ({ name, on, reason }) =>
      orderedOf(await ask('DELETE', `/api/v1/locks/${encodeURIComponent(on)}/${encodeURIComponent(name)}`, { reason })),
    async *listLocks() {
      const listed = orderedOf<{ readonly locks: readonly LockStatement[]; readonly truncated: boolean }>(await ask('GET', '/api/v1/locks'))
      if (listed.outcome === 'refused') throw new PosternError('api_refused', listed.message)
      yield* listed.value.locks
      tellOfCut(listed.value.truncated)
    },
    async listSessions(subject) {
      const query = subject === undefined ? '' : `?subject=${encodeURIComponent(subject)}`
      const path = `/api/v1/sessions${query}`
      const listed = orderedOf<{ readonly sessions: readonly SessionStatement[]; readonly truncated: boolean }>(await ask('GET', path))
      if (listed.outcome === 'refused') return listed
      tellOfCut(listed.value.truncated)
      return { outcome: 'done', value: toAsync(listed.value.sessions) }
    },
    revoke: async (order) => orderedOf<RevocationStatement>(await ask('POST', '/api/v1/sessions/revoke', order)),
  }
}

async function* toAsync<T>(list: readonly T[]): AsyncIterable<T> {
  yield* list
}

function tellOfCut(isCut: boolean): void {
  if (isCut) console.error('postern: there are more than one answer holds; ask for one subject')
}

/** Refusals of the order itself are answers; of the token, of the form, and troubles of the instance end the command with status 2. */
function orderedOf<T>({ body, status }: ApiAnswer): Ordered<T> {
  if (status === 200) return { outcome: 'done', value: body as T }
  const { error, message } = body as { readonly error?: unknown; readonly message?: unknown }
  const said = typeof message === 'string' ? message : `it answered ${status}`
  const isAnswer = status === 404 || status === 409 || error === 'until_passed' || error === 'invalid_order'
  if (isAnswer && typeof error === 'string' && error !== 'path_not_found') {
    return { outcome: 'refused', problem: 'invalid_order', message: said }
  }
  throw new PosternError('api_refused', `the instance refused the order (${status}): ${said}`)
}
