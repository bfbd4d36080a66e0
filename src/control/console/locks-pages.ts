/**
 * `/console/locks`: every lock in force, setting one on a person, device, app or service, and lifting one.
 *
 * A name that would lock nothing is refused by the operation, and said at its field.
 */

import type { LocksOperations } from '../operations/locks.ts'
import type { CarryOut, Refused } from '../operations/operation.ts'
import { isHeldBack } from '../operations/people-schemas.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { describeLocks } from './locks-content.ts'
import { reasonIn, refusal } from './people-pages.ts'
import { type FormState, formStateOf, readLockEnd } from './person-content.ts'

export interface LocksPagesPorts {
  readonly locks: LocksOperations
  readonly carryOut: CarryOut
}

const path = '/console/locks'

/** Adds the pages. */
export function mountLocksPages(routes: ConsoleRoutes, { carryOut, locks }: LocksPagesPorts): void {
  routes.get(path, 'locks:read', (request) => show(request))

  routes.post(path, 'locks:write', async (request, form) => {
    const confirm = form.get('confirm') === null ? {} : { confirm: form.get('confirm') }
    const text = (name: string) => (form.get(name) ?? '').trim()
    const wish = { on: text('on'), name: text('name'), reason: text('reason'), until: readLockEnd(form), ...confirm }
    const outcome = await carryOut(locks.set, wish, request.asker)
    if (outcome.outcome === 'refused') return await show(request, outcome, formOf(form, outcome))
    const { label, until } = outcome.value
    const how = until === null ? 'until the lock is lifted' : `until ${until.slice(0, 16).replace('T', ' ')} UTC`
    return { kind: 'redirect', to: path, notice: { tone: 'good', text: `${label} is locked ${how}. What was open is being closed.` } }
  })

  routes.post(`${path}/lift`, 'locks:write', async (request, form) => {
    const wish = { on: form.get('on') ?? '', name: form.get('name') ?? '', reason: reasonIn(form) ?? 'lifted in the console' }
    const outcome = await carryOut(locks.lift, wish, request.asker)
    if (outcome.outcome === 'refused') {
      if (outcome.problem === 'not_locked') return { kind: 'redirect', to: path, notice: { tone: 'info', text: outcome.message } }
      return refusal(outcome)
    }
    return { kind: 'redirect', to: path, notice: { tone: 'good', text: `The lock on ${outcome.value.label} is lifted.` } }
  })

  async function show(request: ConsoleRequest, refused?: Refused, form?: FormState): Promise<ConsoleAnswer> {
    if (refused?.problem === 'target_protected' || refused?.problem === 'not_permitted') return refusal(refused)
    const outcome = await carryOut(locks.list, {}, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    const [, digits = '0'] = /^(\d{1,3})$/.exec(request.query.get('page') ?? '') ?? []
    const content = describeLocks(outcome.value.locks, {
      form,
      mayWrite: request.may('locks:write'),
      isHeldBack: isHeldBack(request.asker),
      now: request.now,
      page: Number(digits),
    })
    const status =
      refused === undefined ? 200 : refused.problem === 'confirmation_needed' || refused.problem === 'subject_ambiguous' ? 409 : 400
    return { kind: 'page', template: 'locks', title: 'Locks', section: 'locks', content, status }
  }
}

/** Whatever is not about reason, end or confirmation is about the name. */
function formOf(form: URLSearchParams, refused: Refused): FormState {
  const state = formStateOf(form, refused)
  const { '': general, ...errors } = state.errors
  return general === undefined ? state : { ...state, errors: { ...errors, name: general } }
}
