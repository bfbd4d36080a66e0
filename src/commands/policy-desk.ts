/**
 * Where the history of a policy is kept, for `postern policy`: the store of the configuration, the API of a running instance, or files.
 *
 * All three give the same answers. In the store it is the use case that the console uses, with the same checks, as `os:<user>@<host>`; whoever may
 * open the store needs nobody's leave, and confirms what would lock people out like everybody else (`policy-gates.ts`).
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Asker, permissions } from '../administration/asker.ts'
import { type Bundle, hashBundle } from '../administration/policy-bundle.ts'
import { createPolicyDrafts } from '../administration/policy-drafts.ts'
import { createPublishing, type PublishingParts } from '../administration/policy-publishing.ts'
import { type Published, type Publishing, policyIsFiles } from '../administration/policy-publishing-answers.ts'
import { createPolicyRevisions } from '../administration/policy-revisions.ts'
import {
  type PolicyStatement,
  type PublishedStatement,
  type RevisionStatement,
  stateFiles,
  statePolicy,
  statePublished,
  stateRevision,
} from '../administration/policy-statements.ts'
import { createMakerFinder } from '../administration/token-makers.ts'
import type { Administration } from '../compose-administration.ts'
import { readBundle } from '../config/bundle-files.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { describeInstance } from '../config/known-instance.ts'
import { loadConfiguration, printProblems } from '../config/load-configuration.ts'
import { readServiceToken, tokenVariable } from '../config/service-token.ts'
import { PosternError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { createPolicyJudge } from '../policy-judge.ts'
import { judgePolicy } from '../policy-loading.ts'
import type { DeskOptions } from './access-desk.ts'
import type { OpenAdministration } from './administer.ts'
import { type ApiAnswer, askApi } from './ask-api.ts'
import { createCommandGates } from './policy-gates.ts'
import { readText } from './read-text.ts'

/** An answer, or why there is none; `detail` is for programs. */
export type Answered<T> =
  | { readonly outcome: 'done'; readonly value: T }
  | { readonly outcome: 'refused'; readonly problem: string; readonly message: string; readonly detail: Readonly<Record<string, unknown>> }

/** What is to be published. */
export interface PushOrder {
  readonly bundle: Bundle
  readonly predecessor: number
  readonly comment: string
  readonly asDraft: boolean
  readonly confirmations: readonly string[]
}

/** The history of one policy. */
export interface PolicyDesk {
  /** What is published, or the files in force. */
  load(): Promise<Answered<PolicyStatement>>
  /** The newest first. */
  list(limit: number): Promise<Answered<readonly RevisionStatement[]>>
  push(order: PushOrder): Promise<Answered<PublishedStatement>>
  restore(number: number, order: Pick<PushOrder, 'comment' | 'confirmations'>): Promise<Answered<PublishedStatement>>
}

/** What the desk is made of. */
export interface PolicyDeskParts {
  readonly openAdministration: OpenAdministration
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Does `work` where the options say. */
export async function openPolicyDesk(
  options: DeskOptions,
  parts: PolicyDeskParts,
  work: (desk: PolicyDesk) => Promise<void>,
): Promise<void> {
  const { caFile, config, url } = options
  if (url !== undefined) {
    const token = options.token ?? readServiceToken()
    if (token === undefined) return stop(`--url needs --token, or ${tokenVariable} in the environment`)
    return await work(remoteDesk(url, token, caFile === undefined ? undefined : await readText(caFile)))
  }
  if (options.token !== undefined) return stop('--token goes with --url')
  const { problems, value: configuration } = await loadConfiguration(config)
  if (configuration === undefined) return stop(printProblems(problems, 'error'), '')
  if (configuration.policyMode === 'files') return await work(filesDesk(configuration, parts.now))
  const log = createLogger('warn', 'stderr')
  const administration = await parts.openAdministration(configuration, log)
  // Nobody else reads what lies here, and it goes with the command.
  const folder = await mkdtemp(join(tmpdir(), 'postern-policy-'))
  const question = () => ({ ...questionOf(configuration, parts.now) })
  const judge = createPolicyJudge({ folder, question, monotonicNow: () => performance.now() })
  try {
    await work(storeDesk(administration, configuration, { judge: judge.judgeBundle, log, now: parts.now }))
  } finally {
    judge.close()
    await rm(folder, { recursive: true, force: true })
    await administration.close()
  }
}

function stop(message: string, head = 'postern: '): void {
  console.error(`${head}${message}`)
  process.exitCode = 2
}

const questionOf = (configuration: InstanceConfiguration, now: () => number) => ({
  instance: describeInstance(configuration),
  areTestsRequired: configuration.policyTests === 'required',
  now: now(),
})

function filesDesk(configuration: InstanceConfiguration, now: () => number): PolicyDesk {
  const files = async () => refusalOf(policyIsFiles)
  return {
    async load() {
      const path = configuration.policyPath
      const { bundle, problems } = await readBundle(path)
      if (problems.length > 0) throw new PosternError('configuration_invalid', printProblems(problems, 'error'))
      const { value } = await judgePolicy({ ...questionOf(configuration, now), path })
      const version = value?.version ?? ''
      const failure = value === undefined ? 'the files have problems: `postern check` lists them' : undefined
      return done(statePolicy({ mode: 'files', policyVersion: version, revision: undefined, bundle, failure }))
    },
    list: files,
    push: files,
    restore: files,
  }
}

function storeDesk(
  administration: Administration,
  configuration: InstanceConfiguration,
  {
    judge,
    log,
    now,
  }: { readonly judge: PublishingParts['judge']; readonly log: ReturnType<typeof createLogger>; readonly now: () => number },
): PolicyDesk {
  const { actor, keys, recordFirst, store, tokens } = administration
  const parts = { store, keys, log, recordFirst }
  const revisions = createPolicyRevisions({ ...parts, tell: ({ hash }) => store.publish({ kind: 'policy', detail: hash }) })
  const publishing: Publishing = createPublishing({
    mode: 'managed',
    revisions,
    drafts: createPolicyDrafts(parts),
    judge,
    inForce: async () => Promise.reject(new TypeError('a managed policy is asked of its revisions')),
    isTwoPerson: configuration.policyTwoPerson,
    findGates: createCommandGates({ ...parts, configuration, judge, revisions, now }),
    findTokenMakers: createMakerFinder(tokens),
    // A command publishes nothing that two people have to agree on, and so counts nobody's approval.
    mayStillApprove: async () => false,
    recordFirst,
  })
  const asker: Asker = { actor, label: actor, subject: undefined, roles: [], permissions: new Set(permissions) }

  return {
    async load() {
      const head = await revisions.head()
      const revision = head === undefined ? undefined : await revisions.load(head.number)
      if (revision === undefined) return nothingPublished
      const { bundle, policyVersion } = revision
      return done(statePolicy({ mode: 'managed', policyVersion, revision, bundle, failure: undefined }))
    },
    async list(limit) {
      const listed: RevisionStatement[] = []
      for (;;) {
        const below = listed.at(-1)?.number
        const page = await revisions.list({ below, limit: Math.min(100, limit - listed.length) })
        listed.push(...page.map(stateRevision))
        if (page.length === 0 || listed.length >= limit) return done(listed)
      }
    },
    push: async (order) => publishedOf(await publishing.push(order, asker)),
    restore: async (number, order) => publishedOf(await publishing.restore(number, order, asker)),
  }
}

const nothingPublished = {
  outcome: 'refused',
  problem: 'not_found',
  message: 'nothing is published yet: the first instance that starts publishes the files of the configuration',
  detail: {},
} as const

function publishedOf(published: Published): Answered<PublishedStatement> {
  return published.outcome === 'refused' ? refusalOf(published) : done(statePublished(published))
}

function refusalOf({ detail = {}, message, problem }: Extract<Published, { readonly outcome: 'refused' }>): Answered<never> {
  return { outcome: 'refused', problem, message, detail }
}

const done = <T>(value: T): Answered<T> => ({ outcome: 'done', value })

/** Revisions on one page of the API. */
const pageSize = 200

function remoteDesk(url: URL, token: string, ca: string | undefined): PolicyDesk {
  const ask = (method: 'GET' | 'POST', path: string, body?: object) =>
    askApi(new URL(`/api/v1/policy${path}`, url), { method, token, ca, body: body === undefined ? undefined : JSON.stringify(body) })

  return {
    load: async () => answerOf<PolicyStatement>(await ask('GET', '')),
    async list(limit) {
      const listed: RevisionStatement[] = []
      let after: string | null = null
      do {
        const query = new URLSearchParams({ limit: String(Math.min(pageSize, limit - listed.length)) })
        if (after !== null) query.set('after', after)
        const answer = answerOf<{ readonly entries: readonly RevisionStatement[]; readonly next: string | null }>(
          await ask('GET', `/revisions?${query}`),
        )
        if (answer.outcome === 'refused') return answer
        listed.push(...answer.value.entries)
        after = answer.value.next
      } while (after !== null && listed.length < limit)
      return done(listed)
    },
    async push({ asDraft, bundle, comment, confirmations, predecessor }) {
      const order = { files: stateFiles(bundle), predecessor, comment }
      // A token that may draft and not publish is refused on the other path, whatever it asks for there.
      return answerOf<PublishedStatement>(
        await (asDraft ? ask('POST', '/drafts', order) : ask('POST', '/revisions', { ...order, confirmations })),
      )
    },
    restore: async (number, { comment, confirmations }) =>
      answerOf<PublishedStatement>(await ask('POST', `/revisions/${number}/restore`, { comment, confirmations })),
  }
}

/** Refusals of the order itself are answers; of the token, of the form, and troubles of the instance end the command with status 2. */
function answerOf<T>({ body, status }: ApiAnswer): Answered<T> {
  if (status === 200 || status === 201) return done(body as T)
  const { error, message, ...detail } = body as { readonly error?: unknown; readonly message?: unknown }
  const said = typeof message === 'string' ? message : `it answered ${status}`
  const isAnswer = [404, 409, 422, 429].includes(status) || error === 'second_person_needed'
  if (isAnswer && typeof error === 'string' && error !== 'path_not_found') {
    return { outcome: 'refused', problem: error, message: said, detail }
  }
  throw new PosternError('api_refused', `the instance refused the order (${status}): ${said}`)
}

/** Whether these files are what was stated. */
export function isSameBundle(one: Bundle, other: Bundle): boolean {
  return hashBundle(one) === hashBundle(other)
}
