/**
 * The operational log: one JSON line an event, on standard output unless a command needs that. It is not the audit trail.
 *
 * Redaction is by name and happens here, once: whatever is passed under a name that holds a secret prints as `***`.
 * Nobody passes headers, cookies, tokens or bodies in the first place.
 *
 * What strangers chose (paths, addresses, words of an error) can neither forge a line nor act on a terminal, nor make one long. A
 * failure that goes on is told by its first lines and then by one each ten seconds that says how many more there were, so that an
 * outage is no flood.
 */

import { type Logger as PinoLogger, pino } from 'pino'

export type Logger = Pick<PinoLogger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & { flush(callback?: () => void): void }
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** An OAuth code is a secret at the top level of a line; below it, `code` is an error's and the most useful word there. */
const topLevelSecretNames = ['code']
const secretNames = [
  'password',
  'secret',
  'client_secret',
  'clientSecret',
  'token',
  'cookie',
  'authorization',
  'refreshToken',
  'accessToken',
  'idToken',
]

/** What JSON leaves alone, but a terminal, a log viewer or JavaScript acts upon: the same as in a line of the audit trail. */
const activeCharacters = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g
const longestText = 2000
const longestStack = 4000
const longestList = 50

/** So many lines about one failure are each worth reading; then they are counted. */
const saidOfFailure = 3
const quietMs = 10_000
/** Kinds of failures under way that are told apart; beyond, every line is written. */
const mostFailures = 500

/** A logger that writes asynchronously and is flushed at exit. A command whose standard output is its answer logs to standard error. */
export function createLogger(level: LogLevel, output: 'stdout' | 'stderr' = 'stdout'): Logger {
  const paths = [...topLevelSecretNames, ...secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`])]
  const destination = pino.destination({ dest: output === 'stdout' ? 1 : 2, sync: false, minLength: 0 })
  const repetitions = createRepetitions()
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      redact: { paths, censor: '***' },
      serializers: { err: describeError },
      formatters: { log: (facts) => shorten(facts, 2) as Record<string, unknown> },
      hooks: {
        logMethod(said, write) {
          const [facts, message] = said as [unknown, unknown]
          const isTold = repetitions.tell(facts, message, (more) => write.apply(this, [{ ...(facts as object), ...more }, String(message)]))
          if (!isTold) write.apply(this, said)
        },
      },
    },
    {
      write: (line: string) => void destination.write(line.replace(activeCharacters, escapeOne)),
      // Where it is ours, pino's own flush does not reach the file.
      flush: (callback?: () => void) => destination.flush(callback),
    } as Parameters<typeof pino>[1],
  )
  const whole = Object.assign(logger, {
    flush(callback?: () => void) {
      repetitions.tellAll()
      destination.flush(callback)
    },
  })
  destinations.set(whole, destination)
  return whole
}

type Destination = ReturnType<typeof pino.destination>
const destinations = new WeakMap<Logger, Destination>()

/**
 * Writes whole lines of somebody else's between those of the log, and resolves once the system has them: two writers on one pipe would tear
 * each other's lines. Rejects where the output is broken.
 */
export function writeBetweenLogLines(log: Logger, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const destination = destinations.get(log)
    if (destination === undefined) return reject(new TypeError('this logger writes no lines of others'))
    const onDrain = () => {
      destination.off('error', onError)
      resolve()
    }
    const onError = (error: Error) => {
      destination.off('drain', onDrain)
      reject(error)
    }
    destination.once('drain', onDrain)
    destination.once('error', onError)
    destination.write(text)
  })
}

interface Failure {
  said: number
  held: number
  tellHeld: () => void
}

/** What of the same failure was written lately, and what was not. Only lines about an error are held back; an alert never is. */
function createRepetitions() {
  const failures = new Map<string, Failure>()

  function rest(key: string, failure: Failure): void {
    setTimeout(() => {
      // Nothing more came: the next one is news again.
      if (failure.held === 0) return void failures.delete(key)
      failure.tellHeld()
      rest(key, failure)
    }, quietMs).unref()
  }

  return {
    /** `false` where this is no failure to count, and the caller writes it. */
    tell(facts: unknown, message: unknown, write: (more: { readonly repeated?: number }) => void): boolean {
      const key = kindOf(facts, message)
      if (key === undefined) return false
      let failure = failures.get(key)
      if (failure === undefined) {
        if (failures.size >= mostFailures) return false
        failure = { said: 0, held: 0, tellHeld: () => undefined }
        failures.set(key, failure)
        rest(key, failure)
      }
      if (failure.said < saidOfFailure) {
        failure.said += 1
        write({})
        return true
      }
      const held = failure
      held.held += 1
      held.tellHeld = () => {
        const repeated = held.held
        held.held = 0
        write({ repeated })
      }
      return true
    },
    tellAll() {
      for (const failure of failures.values()) if (failure.held > 0) failure.tellHeld()
    },
  }
}

/** What makes two lines one failure; `undefined` for what is none. The request and the person are what differs. */
function kindOf(facts: unknown, message: unknown): string | undefined {
  if (typeof facts !== 'object' || facts === null) return undefined
  const { err, error, app, reason, issuer } = facts as Record<string, unknown>
  if (err === undefined && error === undefined) return undefined
  const { name, code, message: words } = err instanceof Error ? (err as NodeJS.ErrnoException) : {}
  return [message, app, reason, issuer, error, name, code, words?.slice(0, 200)].join('\n')
}

/** An error as it may be logged: class, code, message and the same of its causes. URLs lose their credentials. */
export function describeError(error: unknown, depth = 0): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: withoutCredentials(String(error)) }
  const code = (error as { code?: unknown }).code
  return {
    name: error.name,
    ...(typeof code === 'string' ? { code: shorten(code, 0) } : {}),
    message: withoutCredentials(error.message),
    ...(depth === 0 && error.name === 'TypeError' ? { stack: withoutCredentials(error.stack ?? '', longestStack) } : {}),
    ...(error.cause !== undefined && depth < 4 ? { cause: describeError(error.cause, depth + 1) } : {}),
  }
}

function withoutCredentials(text: string, longest = longestText): string {
  return text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]*@/gi, '$1***@').slice(0, longest)
}

/** Texts and lists cut to what a line can hold; an ellipsis says so. Errors are described elsewhere. */
function shorten(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.length <= longestText ? value : `${value.slice(0, longestText)}…`
  if (depth < 0 || typeof value !== 'object' || value === null || value instanceof Error) return value
  if (Array.isArray(value)) return value.slice(0, longestList).map((entry) => shorten(entry, depth - 1))
  if (Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, shorten(field, depth - 1)]))
}

function escapeOne(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
