/**
 * The answers `postern init` needs, from flags or from the terminal, each judged before the next is asked.
 */

import { resolve } from 'node:path'
import { Secret } from '../config/instance.ts'
import { isGuessable } from '../config/secret-values.ts'
import { isLoopbackName, isRefusal, parseAppAddress, parseOrigin, parseUpstreamUrl, type Refusal } from '../config/web-address.ts'
import { loadFile } from '../config/yaml-source.ts'
import type { Conversation } from './conversation.ts'

export interface InitFlags {
  readonly config: string
  readonly url?: string
  readonly preset?: string
  readonly issuer?: string
  readonly clientId?: string
  readonly clientSecretFile?: string
  readonly app?: string
  readonly appUrl?: string
  readonly upstream?: string
  readonly groups?: string
  readonly yes?: boolean
  readonly force?: boolean
  readonly json?: boolean
}

export interface InitAnswers {
  readonly url: URL
  readonly preset: string | undefined
  readonly issuer: string
  readonly clientId: string
  /** Typed; `undefined` where a file was named. */
  readonly clientSecret: Secret | undefined
  /** Absolute. */
  readonly clientSecretFile: string | undefined
  readonly app: { readonly id: string; readonly url: string; readonly upstream: string }
  readonly groups: readonly string[]
}

type Judge = (answer: string) => string | undefined

interface Question {
  readonly flag: string
  readonly given: string | undefined
  readonly text: string
  readonly fallback?: string
  /** Why an answer will not do. */
  readonly judge: Judge
}

const presets = ['keycloak', 'entra', 'okta', 'google', 'none']
const leastSecretLength = 16
/** Who has mistyped so often is helped by the documentation, not by another question. */
const maxAttempts = 5

/** All answers, or a sentence that says which is missing or not valid. */
export async function collectAnswers(flags: InitFlags, conversation: Conversation): Promise<InitAnswers | { readonly missing: string }> {
  let missing: string | undefined
  const ask = async (question: Question): Promise<string> => {
    if (missing !== undefined) return ''
    const answer = await answerTo(question, conversation)
    if (typeof answer !== 'string') missing = answer.missing
    return typeof answer === 'string' ? answer : ''
  }

  const url = await ask({
    flag: '--url',
    given: flags.url,
    text: 'Public URL of Postern itself, such as https://access.corp.example',
    judge: refusalOf(parseOrigin),
  })
  const preset = await ask({
    flag: '--preset',
    given: flags.preset,
    text: `Provider (${presets.join(', ')})`,
    fallback: 'none',
    judge: (answer) => (presets.includes(answer) ? undefined : `one of ${presets.join(', ')}`),
  })
  const issuer = await ask({
    flag: '--issuer',
    given: flags.issuer,
    text: 'Issuer URL of the provider',
    judge: judgeIssuer,
  })
  const clientId = await ask({ flag: '--client-id', given: flags.clientId, text: 'Client id', fallback: 'postern', judge: oneLine })
  const clientSecret = missing === undefined && flags.clientSecretFile === undefined ? await askSecret(conversation) : undefined
  if (missing === undefined && flags.clientSecretFile === undefined) missing = judgeSecret(clientSecret)
  if (missing === undefined && flags.clientSecretFile !== undefined) missing = await judgeSecretFile(flags.clientSecretFile)

  const id = await ask({
    flag: '--app',
    given: flags.app,
    text: 'First app: its id',
    fallback: 'wiki',
    judge: (answer) => (/^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/.test(answer) ? undefined : 'lower-case letters, digits, - and _'),
  })
  const appUrl = await ask({
    flag: '--app-url',
    given: flags.appUrl,
    text: 'Its public URL',
    ...suggestAppUrl(url, id),
    judge: refusalOf(parseAppAddress),
  })
  const upstream = await ask({
    flag: '--upstream',
    given: flags.upstream,
    text: 'Its internal address, such as http://wiki.internal:3000',
    judge: refusalOf(parseUpstreamUrl),
  })
  const groups = await ask({
    flag: '--groups',
    given: flags.groups,
    text: 'Groups that may open it, separated by commas (empty: everybody who is signed in)',
    fallback: '',
    judge: () => undefined,
  })
  if (missing !== undefined) return { missing }
  return {
    url: new URL(url),
    preset: preset === 'none' ? undefined : preset,
    issuer,
    clientId,
    clientSecret: clientSecret === undefined ? undefined : new Secret(clientSecret),
    clientSecretFile: flags.clientSecretFile === undefined ? undefined : resolve(flags.clientSecretFile),
    app: { id, url: appUrl, upstream },
    groups: groups
      .split(',')
      .map((group) => group.trim())
      .filter((group) => group !== ''),
  }
}

async function answerTo(question: Question, conversation: Conversation): Promise<string | { readonly missing: string }> {
  const { flag, given, text, fallback, judge } = question
  if (given !== undefined) {
    const refusal = judge(given)
    return refusal === undefined ? given : { missing: `${flag}: ${refusal}` }
  }
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const answer = (await conversation.ask(text, fallback)) ?? (conversation.isSilent ? fallback : undefined)
    if (answer === undefined || (answer === '' && fallback === undefined)) return { missing: `${flag} is needed (${text})` }
    const refusal = judge(answer)
    if (refusal === undefined) return answer
    conversation.say(`Not usable: ${refusal}.`)
  }
  return { missing: `${flag} is needed (${text})` }
}

/** The first usable one of a few; the last one typed, or nothing, is judged by the caller. */
async function askSecret(conversation: Conversation): Promise<string | undefined> {
  let secret: string | undefined
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    secret = await conversation.askSecret('Client secret (not shown)')
    const refusal = judgeSecret(secret)
    if (secret === undefined || refusal === undefined || !conversation.isTerminal) return secret
    conversation.say(`Not usable: ${refusal}.`)
  }
  return secret
}

function refusalOf(parse: (text: string) => object): Judge {
  return (answer) => {
    const parsed = parse(answer)
    return isRefusal(parsed) ? describe(parsed) : undefined
  }
}

const judgeIssuer: Judge = (answer) => {
  const parsed = parseUpstreamUrl(answer)
  if (isRefusal(parsed)) return describe(parsed)
  const isSafe = parsed.url.protocol === 'https:' || isLoopbackName(parsed.url.hostname)
  return isSafe ? undefined : 'an issuer must be https:// (http:// only on loopback and *.localhost)'
}

function describe({ refusal, expected, suggestion }: Refusal): string {
  return [refusal, expected === undefined ? undefined : `expected ${expected}`, suggestion].filter((part) => part !== undefined).join('; ')
}

const oneLine: Judge = (answer) =>
  answer.trim() === answer && answer !== '' && !/\p{Cc}/u.test(answer) ? undefined : 'one word, without blanks at its ends'

function judgeSecret(secret: string | undefined): string | undefined {
  if (secret === undefined || secret === '') return '--client-secret-file is needed (the client secret cannot be asked for here)'
  if (isGuessable(secret) || secret.length < leastSecretLength)
    return `the client secret is too short or one that anybody would guess (at least ${leastSecretLength} characters)`
  return /\p{Cc}/u.test(secret) ? 'the client secret holds a control character' : undefined
}

async function judgeSecretFile(file: string): Promise<string | undefined> {
  const bytes = await loadFile(file, 64 * 1024)
  if (typeof bytes === 'string') return `--client-secret-file: ${bytes}`
  return judgeSecret(bytes.toString('utf8').replace(/\r?\n$/, ''))
}

/** `https://access.corp.example` and `wiki` make `https://wiki.corp.example`. */
function suggestAppUrl(access: string, id: string): { fallback?: string } {
  if (!URL.canParse(access)) return {}
  const url = new URL(access)
  const parent = url.hostname.split('.').slice(1).join('.')
  if (!parent.includes('.')) return {}
  url.hostname = `${id}.${parent}`
  return { fallback: url.origin }
}
