// What the browser keeps of the page, and what it asks. Runs once; `element`, `props`, `watch` and `trigger` are
// Gradio's. It tells the server: 'open' (the page is there, with the key that the browser keeps), 'confirm' and
// 'refuse' (the answer to a question).
const STORE = 'semcorr-workspace';
let unsaved = false, asked = 0;

function kept() {
  try { return JSON.parse(localStorage.getItem(STORE)) || {}; } catch { return {}; }
}

function keep(value) {
  // A browser that keeps nothing: the page works, and a reload begins anew.
  try { localStorage.setItem(STORE, JSON.stringify({...kept(), ...value})); } catch { return; }
}

function button(words, parent, act, kind) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = words;
  made.className = kind;
  made.addEventListener('click', act);
  parent.appendChild(made);
  return made;
}

function ask(question) {
  const dialog = document.createElement('dialog');
  dialog.className = 'sc-dialog';
  dialog.setAttribute('aria-labelledby', 'sc-question');
  const words = document.createElement('p');
  words.id = 'sc-question';
  words.textContent = question.words;
  dialog.appendChild(words);
  let answer = 'refuse';
  const row = document.createElement('div');
  dialog.appendChild(row);
  // The harmless answer comes first and has the focus; Escape gives it as well.
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
  const wanted = document.querySelector(event.shiftKey ? '#redo' : '#undo');
  if (!wanted || wanted.disabled || !wanted.offsetParent) return;
  event.preventDefault();
  wanted.click();
});

watch('value', update);
trigger('open', {key: kept().key || null, held: Boolean(kept().holds)});
