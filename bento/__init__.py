"""What a customer is and how one is scored: the ground floor that training, serving and streaming share."""
