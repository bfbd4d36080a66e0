/**
 * The operational log: one JSON line an event, on standard output unless a command needs that. It is not the audit trail.
 *
 * Redaction is by name and happens here, once: whatever is passed under a name that holds a secret prints as `***`.
 * Nobody passes headers, cookies, tokens or bodies in the first place.
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

/** A logger that writes asynchronously and is flushed at exit. A command whose standard output is its answer logs to standard error. */
export function createLogger(level: LogLevel, output: 'stdout' | 'stderr' = 'stdout'): Logger {
  const paths = [...topLevelSecretNames, ...secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`])]
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      redact: { paths, censor: '***' },
      serializers: { err: describeError },
    },
    pino.destination({ dest: output === 'stdout' ? 1 : 2, sync: false, minLength: 0 }),
  )
}

/** An error as it may be logged: class, code, message and the same of its causes. URLs lose their credentials. */
export function describeError(error: unknown, depth = 0): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: withoutCredentials(String(error)) }
  const code = (error as { code?: unknown }).code
  return {
    name: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    message: withoutCredentials(error.message),
    ...(depth === 0 && error.name === 'TypeError' ? { stack: error.stack } : {}),
    ...(error.cause !== undefined && depth < 4 ? { cause: describeError(error.cause, depth + 1) } : {}),
  }
}

function withoutCredentials(text: string): string {
  return text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]*@/gi, '$1***@').slice(0, 2000)
}
