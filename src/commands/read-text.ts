/**
 * Reads a file that somebody named at a command line. What cannot be read is an answer for a person, in one line, with no stack.
 */

import { readFile } from 'node:fs/promises'
import { PosternError } from '../errors.ts'

/** The file as UTF-8 text. Rejects with `configuration_invalid` and a sentence that names it. */
export async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new PosternError('configuration_invalid', `${file} cannot be read (${code})`, { cause: error })
  }
}
