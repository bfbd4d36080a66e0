/**
 * What may be known and told of an error of the Redis client.
 *
 * The client attaches the command with all its arguments to an error, those of AUTH too, and a log prints what it finds. So errors
 * are copied here before anybody else sees them. Errors of the server begin with a word that is their code; nothing else of them is judged.
 */

/** The word in front of a server's error is its code; the protocol has no other place for it. `undefined` for errors of the network. */
export function redisErrorCode(error: unknown): string | undefined {
  return error instanceof Error ? /^[A-Z]+(?= |$)/.exec(error.message)?.[0] : undefined
}

/** A copy without the command and its arguments, safe to log. */
export function withoutArguments(error: unknown): Error {
  if (!(error instanceof Error)) return new Error('unknown failure')
  const copy = new Error(error.message)
  copy.name = error.name
  const code = (error as { code?: unknown }).code ?? redisErrorCode(error)
  return typeof code === 'string' ? Object.assign(copy, { code }) : copy
}
