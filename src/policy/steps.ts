/**
 * Work that can be done a little at a time: compiling a large policy in one piece would keep every request waiting meanwhile.
 *
 * Whoever takes the steps decides what happens between them; here nothing waits and nothing looks at a clock. The result is there with
 * the last step and not before, so that nothing half made is ever used.
 */

/** Each step is short; the last one returns the result. */
export type Steps<T> = Generator<undefined, T, undefined>

/** Takes all steps at once. */
export function takeSteps<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}
