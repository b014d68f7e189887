// Keeps the session's key in the browser, and asks questions. Runs once; `element`, `props`, `watch` and `trigger` are
// Gradio's. Its events are 'open' (the page is loaded, with the key that the browser has), 'confirm' and 'refuse' (the
// answer to a question).
const STORE = 'semcorr-workspace';
let unsaved = false, asked = 0;

function kept() {
  try { return JSON.parse(localStorage.getItem(STORE)) || {}; } catch { return {}; }
}

function keep(value) {
  // In a browser that stores nothing the page works, but a reload starts a new workspace.
  try { localStorage.setItem(STORE, JSON.stringify({...kept(), ...value})); } catch { return; }
}

function button(text, parent, act, kind) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = text;
  made.className = kind;
  made.addEventListener('click', act);
  parent.appendChild(made);
  return made;
}

function ask(question) {
  const dialog = document.createElement('dialog');
  dialog.className = 'sc-dialog';
  dialog.setAttribute('aria-labelledby', 'sc-question');
  const text = document.createElement('p');
  text.id = 'sc-question';
  text.textContent = question.text;
  dialog.appendChild(text);
  let answer = 'refuse';
  const row = document.createElement('div');
  dialog.appendChild(row);
  // The harmless answer comes first and has the focus; Escape means the same.
  const no = button('Cancel', row, () => dialog.close(), 'sc-no');
  button(question.yes, row, () => { answer = 'confirm'; dialog.close(); }, 'sc-yes');
  dialog.addEventListener('close', () => { dialog.remove(); trigger(answer, {token: question.token}); });
  document.body.appendChild(dialog);
  dialog.showModal();
  no.focus();
}

function update() {
  const value = props.value || {};
  unsaved = Boolean(value.unsaved);
  if (value.key) keep({key: value.key});
  if ('holds' in value) keep({holds: value.holds});
  if (value.question && value.question.token !== asked) {
    asked = value.question.token;
    ask(value.question);
  }
}

window.addEventListener('beforeunload', event => { if (unsaved) event.preventDefault(); });

document.addEventListener('keydown', event => {
  const typing = event.target.closest && event.target.closest('input, textarea, dialog');
  if (typing || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z') return;
  const target = document.querySelector(event.shiftKey ? '#redo' : '#undo');
  if (!target || target.disabled || !target.offsetParent) return;
  event.preventDefault();
  target.click();
});

watch('value', update);
trigger('open', {key: kept().key || null, held: Boolean(kept().holds)});
