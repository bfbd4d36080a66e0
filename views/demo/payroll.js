/**
 * Payroll's page: reads and changes runs through the JSON API.
 *
 * An app behind Postern handles two answers that are not its own: 401 with `sign_in`, when the session ended (reload, and the
 * browser is led through sign-in), and 403 with `reason`, when the policy does not allow this.
 */

const rows = document.querySelector('#runs')
const form = document.querySelector('#add')
const words = { draft: 'Draft', approved: 'Approved', paid: 'Paid' }
const problems = { month_exists: 'There is a run for that month already.', bad_month: 'That is not a month.', not_a_draft: 'Somebody was faster.' }

refresh()

form.addEventListener('submit', (event) => {
  event.preventDefault()
  change('/api/runs', { month: new FormData(form).get('month') }, 'Draft created.')
})

async function refresh(done = '') {
  const answer = await ask('/api/runs')
  if (answer === undefined) return
  rows.replaceChildren(...answer.runs.map(rowOf))
  show('on', done === '' ? `${answer.runs.length} runs` : done)
}

async function change(path, body, done) {
  const answer = await ask(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
  if (answer !== undefined) await refresh(done)
}

/** The parsed answer, or `undefined` once the reason has been shown. */
async function ask(path, options = {}) {
  let response
  let answer
  try {
    response = await fetch(path, { ...options, headers: { Accept: 'application/json', ...options.headers } })
    answer = await response.json()
  } catch {
    show('off', 'Payroll cannot be reached. Try again in a moment.')
    return undefined
  }
  if (response.ok) return answer
  if (response.status === 401 && answer.sign_in !== undefined) {
    location.reload()
    return undefined
  }
  show('off', problems[answer.error] ?? `Not done: ${answer.reason ?? answer.error ?? response.status}.`)
  return undefined
}

function rowOf(run) {
  const row = document.createElement('tr')
  const month = document.createElement('th')
  month.scope = 'row'
  month.textContent = new Date(`${run.month}-15`).toLocaleDateString([], { month: 'long', year: 'numeric' })
  const state = document.createElement('span')
  state.className = `pill pill-${run.state}`
  state.textContent = words[run.state] ?? run.state
  row.append(month, cell(run.people, 'number'), cell(`€ ${run.total.toLocaleString()}`, 'number'), cell(state), cell(run.by), cell(actionOf(run)))
  return row
}

function actionOf(run) {
  if (run.state !== 'draft') return ''
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'button'
  button.textContent = 'Approve'
  button.addEventListener('click', () => change(`/api/runs/${run.id}/approval`, {}, 'Approved.'))
  return button
}

function cell(content, className = '') {
  const element = document.createElement('td')
  element.className = className
  element.append(content)
  return element
}

function show(state, text) {
  const element = document.querySelector('#api-state')
  element.dataset.state = state
  element.textContent = text
}
