/*
 * Comforts of the editor; every page works without them. Line numbers beside a text, jumps to the line of a problem, one more input where a list
 * is filled, and form and YAML of a rule in step: the page asks itself what the other side says, and takes only that side from the answer.
 */

/* Line numbers. */
const number = (box) => {
  const area = box.querySelector('textarea')
  let lines = box.querySelector('.editor-lines')
  if (!lines) {
    lines = document.createElement('div')
    lines.className = 'editor-lines'
    lines.setAttribute('aria-hidden', 'true')
    box.prepend(lines)
    area.addEventListener('input', () => number(box))
    area.addEventListener('scroll', () => {
      lines.scrollTop = area.scrollTop
    })
    new ResizeObserver(() => {
      lines.style.height = `${area.offsetHeight}px`
    }).observe(area)
  }
  const wrong = new Set([...document.querySelectorAll('.editor-problems [data-line]')].map((entry) => Number(entry.dataset.line)))
  const count = area.value.split('\n').length
  const rows = Array.from({ length: count }, (_, index) => {
    const row = document.createElement('div')
    row.textContent = String(index + 1)
    if (wrong.has(index + 1)) row.className = 'is-wrong'
    return row
  })
  lines.replaceChildren(...rows)
  lines.scrollTop = area.scrollTop
}
const numberAll = (within) => {
  for (const box of within.querySelectorAll('[data-code]')) number(box)
}
numberAll(document)
for (const details of document.querySelectorAll('details')) details.addEventListener('toggle', () => numberAll(details))

/* To the line of a problem. */
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('[data-go-line]')
  if (link && goToLine(document.querySelector(link.getAttribute('href')), Number(link.dataset.goLine))) event.preventDefault()
})
const goToLine = (area, line) => {
  if (!area) return false
  const lines = area.value.split('\n')
  const start = lines.slice(0, line - 1).join('\n').length + (line > 1 ? 1 : 0)
  area.focus()
  area.setSelectionRange(start, start + (lines[line - 1] ?? '').length)
  area.scrollTop = Math.max(0, (area.scrollHeight / lines.length) * (line - 4))
  return true
}

/* The address may name a line: `#line-7`. */
const wantedLine = /^#line-(\d{1,6})$/.exec(location.hash)?.[1]
if (wantedLine !== undefined) goToLine(document.querySelector('#content'), Number(wantedLine))

/* One more input, once the last of a list is used. */
document.addEventListener('input', (event) => {
  const input = event.target
  if (!input.matches?.('[data-step-more]') || input.value === '') return
  const another = input.cloneNode()
  const label = document.createElement('label')
  another.value = ''
  another.id = `${input.id}-more`
  label.htmlFor = another.id
  label.className = 'visually-hidden'
  label.textContent = 'Another'
  delete input.dataset.stepMore
  input.placeholder = ''
  input.after(label, another)
})

/* Form and YAML in step. */
const form = document.querySelector('[data-step]')
if (form) {
  let timer
  let asked = 0
  const ask = async (intent, isWhole) => {
    asked += 1
    const mine = asked
    const body = new URLSearchParams(new FormData(form))
    body.set('intent', intent)
    let page
    try {
      const response = await fetch(form.action, { method: 'POST', body, headers: { accept: 'text/html' } })
      if (!response.ok) return
      page = new DOMParser().parseFromString(await response.text(), 'text/html')
    } catch {
      return
    }
    // Somebody typed on meanwhile: that is asked again.
    if (mine !== asked) return
    if (intent === 'form' || isWhole) take(page, '[data-step-yaml]')
    if (intent === 'yaml' || isWhole) take(page, '[data-step-form]')
    if (intent === 'yaml') takeProblems(page)
    if (intent === 'form' && !isWhole) takeErrors(page)
  }
  const take = (page, selector) => {
    const fresh = page.querySelector(selector)
    const old = form.querySelector(selector)
    if (!fresh || !old) return
    const focused = old.contains(document.activeElement) ? document.activeElement.id : ''
    old.replaceWith(document.adoptNode(fresh))
    if (focused !== '') document.getElementById(focused)?.focus()
    numberAll(form)
  }
  /* The YAML is being typed: only what is said about it is new, and what the form was made from. */
  const takeProblems = (page) => {
    const fresh = page.querySelector('#yaml-problems')
    const old = form.querySelector('#yaml-problems')
    if (old) old.remove()
    if (fresh) form.querySelector('[data-step-yaml] [data-code]').before(document.adoptNode(fresh))
    const shown = page.querySelector('[name="shown"]')
    if (shown) form.querySelector('[name="shown"]').value = shown.value
    numberAll(form)
  }
  /* The form is being typed: what is wrong stands at its fields once they are left. */
  const takeErrors = (page) => {
    for (const fresh of page.querySelectorAll('[data-step-form] [id]')) {
      const old = document.getElementById(fresh.id)
      if (!old?.matches('input, select, textarea')) continue
      if (fresh.hasAttribute('aria-invalid')) old.setAttribute('aria-invalid', 'true')
      else old.removeAttribute('aria-invalid')
    }
  }
  const later = (intent, isWhole, wait) => {
    clearTimeout(timer)
    timer = setTimeout(() => void ask(intent, isWhole), wait)
  }
  form.addEventListener('input', (event) => {
    const { target } = event
    if (target.name === 'yaml') later('yaml', false, 500)
    else if (target.closest('[data-step-form]'))
      later('form', target.matches('[data-step-whole]'), target.matches('select, [type="checkbox"]') ? 0 : 500)
  })
}
