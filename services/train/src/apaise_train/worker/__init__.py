"""What runs inside the Ray task: the only part of train that imports torch and peft."""
