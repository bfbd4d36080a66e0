/*
 * Comfort of the console for people with script; every page works without it.
 * `/` goes to the search, forms that end something ask first, arrows walk through the rows of a table, menus close.
 */

const isTyping = (element) => element instanceof HTMLElement && (element.isContentEditable || element.matches('input, select, textarea'))

/* Search. */
const searchForm = document.querySelector('[data-console-search]')
if (searchForm) {
  const input = searchForm.querySelector('input')
  searchForm.querySelector('kbd').hidden = false
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return
    if (event.key === '/' && !isTyping(document.activeElement)) {
      event.preventDefault()
      input.focus()
      input.select()
    } else if (event.key === 'Escape' && document.activeElement === input) {
      input.blur()
    }
  })
}

/* On a phone the places of the console lie in one row that scrolls: it begins where one is. */
const places = document.querySelector('.console-nav')
const here = places?.querySelector('[aria-current]')
if (here && places.scrollWidth > places.clientWidth) {
  const [row, place] = [places.getBoundingClientRect(), here.getBoundingClientRect()]
  places.scrollLeft += place.left - row.left - (row.width - place.width) / 2
}

/* Menus close when somebody goes on elsewhere. */
for (const menu of document.querySelectorAll('[data-closes-outside]')) {
  document.addEventListener('click', (event) => {
    if (!menu.contains(event.target)) menu.open = false
  })
  menu.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !menu.open) return
    menu.open = false
    menu.querySelector('summary').focus()
  })
}

/*
 * `data-confirm="What happens."` on a form: a dialog asks before it is sent. Without script the form is sent at once, so a page whose form
 * cannot be taken back has a checkbox of its own as well.
 */
document.addEventListener('submit', (event) => {
  const form = event.target
  const { submitter } = event
  const question = submitter?.dataset.confirm ?? form.dataset.confirm
  if (question === undefined || form.dataset.confirmed === 'yes' || typeof HTMLDialogElement !== 'function') return
  event.preventDefault()
  const dialog = document.createElement('dialog')
  dialog.className = 'confirm'
  const title = document.createElement('h2')
  title.textContent = submitter?.textContent?.trim() || 'Are you sure?'
  const words = document.createElement('p')
  words.textContent = question
  const choice = document.createElement('form')
  choice.method = 'dialog'
  choice.className = 'actions'
  const no = document.createElement('button')
  no.className = 'button quiet'
  no.value = 'no'
  no.textContent = 'Cancel'
  const yes = document.createElement('button')
  yes.className = submitter?.classList.contains('danger') ? 'button danger' : 'button'
  yes.value = 'yes'
  yes.textContent = title.textContent
  title.id = 'confirm-title'
  dialog.setAttribute('aria-labelledby', title.id)
  choice.append(no, yes)
  dialog.append(title, words, choice)
  dialog.addEventListener('close', () => {
    dialog.remove()
    if (dialog.returnValue !== 'yes') return submitter?.focus()
    form.dataset.confirmed = 'yes'
    form.requestSubmit(submitter ?? undefined)
    delete form.dataset.confirmed
  })
  document.body.append(dialog)
  dialog.showModal()
})

/* Arrows from row to row, by the first link or button of each. */
document.addEventListener('keydown', (event) => {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
  const row = document.activeElement?.closest?.('.table tbody tr')
  if (!row || isTyping(document.activeElement)) return
  const rows = [...row.parentElement.rows].filter((one) => one.querySelector('a, button'))
  const next = rows[rows.indexOf(row) + (event.key === 'ArrowDown' ? 1 : -1)]
  if (next === undefined) return
  event.preventDefault()
  next.querySelector('a, button').focus()
})

/* Copying what is shown once. */
const copyButton = document.querySelector('[data-copy-button]')
if (copyButton && navigator.clipboard) {
  copyButton.hidden = false
  copyButton.addEventListener('click', async () => {
    const told = document.querySelector('[data-copy-told]')
    try {
      await navigator.clipboard.writeText(document.querySelector('[data-copy-text]').textContent)
      told.textContent = 'Copied.'
    } catch {
      // The browser may refuse; it can be selected by hand.
      told.textContent = 'Could not copy. Please select it above.'
    }
  })
}
