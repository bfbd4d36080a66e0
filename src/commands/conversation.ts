/**
 * Questions on a terminal, one line each. What is asked as a secret is not shown while it is typed.
 *
 * Lines are read from one queue, so that answers piped in all at once are not lost between two questions. At the end of the input,
 * and in silent mode, every answer is `undefined`: the caller decides whether a default will do.
 */

import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { Writable } from 'node:stream'

export interface Conversation {
  /** Nobody is asked, so defaults stand for answers. Otherwise no answer means that the person went away. */
  readonly isSilent: boolean
  /** A person types. Answers that are piped in come in a fixed order: asking twice would take the next one for this one. */
  readonly isTerminal: boolean
  /** The answer less blanks at its ends; the fallback for an empty one; `undefined` if nobody answers. */
  ask(question: string, fallback: string | undefined): Promise<string | undefined>
  askSecret(question: string): Promise<string | undefined>
  /** False unless answered with yes. */
  confirm(question: string): Promise<boolean>
  say(text: string): void
  close(): void
}

export interface ConversationParts {
  readonly input: Readable & { readonly isTTY?: boolean }
  readonly output: Writable
  readonly isSilent: boolean
}

/** Opens a conversation; `close` it, or the process keeps waiting for the terminal. */
export function createConversation({ input, output, isSilent }: ConversationParts): Conversation {
  if (isSilent) {
    return {
      isSilent,
      isTerminal: false,
      ask: async () => undefined,
      askSecret: async () => undefined,
      confirm: async () => false,
      say: (text) => void output.write(`${text}\n`),
      close: () => undefined,
    }
  }

  let isMuted = false
  const echo = new Writable({
    write(chunk, encoding, done) {
      // Done at once: what waited for the terminal would be muted by the time it is its turn.
      if (!isMuted) output.write(chunk, encoding)
      done()
    },
  })
  const terminal = createInterface({ input, output: echo, terminal: input.isTTY === true })
  const lines: string[] = []
  let isEnded = false
  let waiting: ((line: string | undefined) => void) | undefined
  terminal.on('line', (line) => {
    const answer = waiting
    // Several lines may arrive in one event loop turn: only the first is the answer to this question.
    waiting = undefined
    if (answer === undefined) lines.push(line)
    else answer(line)
  })
  terminal.on('close', () => {
    isEnded = true
    waiting?.(undefined)
  })

  async function readLine(prompt: string, isSecret: boolean): Promise<string | undefined> {
    // readline redraws its own prompt while a line is edited; one written past it would vanish.
    terminal.setPrompt(prompt)
    if (!isEnded) terminal.prompt()
    isMuted = isSecret
    const line =
      lines.shift() ??
      (isEnded
        ? undefined
        : await new Promise<string | undefined>((resolve) => {
            waiting = resolve
          }))
    isMuted = false
    if (isSecret) output.write('\n')
    return line
  }

  return {
    isSilent,
    isTerminal: input.isTTY === true,
    async ask(question, fallback) {
      const shown = fallback === undefined || fallback === '' ? '' : ` [${fallback}]`
      const line = (await readLine(`${question}${shown}: `, false))?.trim()
      return line === '' ? (fallback ?? '') : line
    },
    askSecret: (question) => readLine(`${question}: `, true),
    async confirm(question) {
      return /^y(?:es)?$/i.test(((await readLine(`${question} [y/N] `, false)) ?? '').trim())
    },
    say: (text) => void output.write(`${text}\n`),
    close: () => terminal.close(),
  }
}
